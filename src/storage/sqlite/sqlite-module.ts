import type * as Sqlite from 'node:sqlite';
import { MatrixClientManagerError } from '../../core/errors.js';

/**
 * Opens a connection. node:sqlite is loaded here and no sooner, because Node 22 prints an ExperimentalWarning when it
 * is; `getBuiltinModule` instead of an import, because bundlers cut the `node:` off, without which it does not exist.
 */
export function openConnection(path: string): Sqlite.DatabaseSync {
  const sqlite = process.getBuiltinModule('node:sqlite') as typeof Sqlite | undefined;
  if (!sqlite) {
    throw new MatrixClientManagerError(
      'UNSUPPORTED',
      `sqliteStorage needs node:sqlite, which Node ${process.versions.node} does not have: use Node 22.13 or later`,
    );
  }
  return new sqlite.DatabaseSync(path);
}
