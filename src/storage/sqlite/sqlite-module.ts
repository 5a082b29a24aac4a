import type * as Sqlite from 'node:sqlite';
import { MatrixClientManagerError } from '../../core/errors.js';

/**
 * Opens a connection. node:sqlite is loaded only when it is needed, because loading it makes Node 22 print an
 * ExperimentalWarning. `getBuiltinModule` is used because bundlers strip the required `node:` prefix from imports.
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
