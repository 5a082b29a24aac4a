import type { Stats } from 'node:fs';
import { chmodSync, closeSync, openSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { invalidOptions, MatrixClientManagerError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { NormalizedSqliteOptions } from '../sqlite-storage-options.js';
import type { Layout } from './layout.js';
import { migrate, probeLayout } from './layout.js';
import { reportCorruption } from './report-corruption.js';
import type { SetAside } from './set-aside.js';
import { setAside, takeUnreported } from './set-aside.js';
import { removeNote } from './set-aside-note.js';
import { lockedError, lockFile } from './file-lock.js';
import { LogSync } from './log-sync.js';
import { createKeyring, openKeyring } from './keyring.js';
import { storageLayout } from './schema.js';
import { isBusy, isDamage, storageError } from './sqlite-errors.js';
import { openConnection } from './sqlite-module.js';
import { inTransaction } from './statements.js';
import { Vault } from './vault.js';

/** An open database: locked by this process, checked, migrated, and with its data key decrypted. */
export interface OpenDatabase {
  readonly path: string;
  readonly database: DatabaseSync;
  readonly vault: Vault;
  /** Like {@link LogSync.sync}; undefined if the file has no write-ahead log. */
  readonly sync: (() => Promise<void>) | undefined;
  /** Closes the file and releases its lock. */
  close(): void;
}

const SMALLEST_PAGE_BYTES = 512;

/** The options that are needed to open a file. */
export type OpenOptions = Pick<NormalizedSqliteOptions, 'path' | 'secret' | 'onCorruption' | 'logger' | 'clock'>;

/** Thrown while opening a damaged file, which is then moved aside. */
class DamagedFileError extends Error {}

/**
 * Opens the file of `options`, or creates it with `layout`. A damaged file is moved aside and reported, and a new one is
 * created. Throws `STORAGE_LOCKED` if the file is in use, `INVALID_OPTIONS` for a wrong secret, a missing folder or a file
 * of another application, and `STORAGE` for other problems. In these cases the file is not changed.
 */
export function openDatabase(options: OpenOptions, layout: Layout = storageLayout): OpenDatabase {
  if (options.path === ':memory:') return openOnce(options.path, options, layout);
  const path = canonicalPath(options.path, layout);
  const unlock = lockFile(path);
  try {
    const opened = openOrReplaceDamaged(path, options, layout);
    const close = (): void => {
      try {
        opened.close();
      } finally {
        unlock();
      }
    };
    return { ...opened, close };
  } catch (error) {
    unlock();
    throw storageError('open', path, error);
  }
}

function openOrReplaceDamaged(path: string, options: OpenOptions, layout: Layout): OpenDatabase {
  const unreported = takeUnreported(path, options.logger);
  if (unreported) reportSetAside(path, options, unreported);
  try {
    return openOnce(path, options, layout);
  } catch (error) {
    if (!(error instanceof DamagedFileError)) throw error;
    reportSetAside(path, options, setAside(path, error.message, options));
    return openOnce(path, options, layout);
  }
}

function reportSetAside(path: string, options: OpenOptions, aside: SetAside): void {
  reportCorruption(options, { scope: 'file', path, ...aside });
  removeNote(path, options.logger);
}

/** The canonical form of a path, so that different spellings of one path use the same lock. */
function canonicalPath(given: string, layout: Layout): string {
  const path = resolve(given);
  try {
    const file = statIfExists(path);
    if (file?.isFile()) return realpathSync(path);
    if (file) throw invalidOptions(`${layout.owner}: expected \`path\` to be a file, but ${path} is not a file`);
    if (!statIfExists(dirname(path))?.isDirectory()) {
      const problem = `expected \`path\` to be in an existing folder, but ${dirname(path)} is not a folder`;
      throw invalidOptions(`${layout.owner}: ${problem}: create it first`);
    }
    return join(realpathSync(dirname(path)), basename(path));
  } catch (error) {
    throw storageError('open', path, error);
  }
}

function statIfExists(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}

function openOnce(path: string, options: OpenOptions, layout: Layout): OpenDatabase {
  if (path !== ':memory:') prepareFile(path, options.logger);
  const database = openConnection(path);
  try {
    // Set before the first read: SQLite then locks the file for this connection, and needs no -shm file.
    database.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON');
    const version = readSchemaVersion(database, path, layout);
    if (version > 0) checkIntegrity(database, layout, version);
    const existingKey = version > 0 ? openDataKey(database, path, options.secret, layout) : undefined;
    configure(database);
    const dataKey = inTransaction(database, () => {
      if (version < layout.migrations.length) migrate(database, layout, version);
      return existingKey ?? createDataKey(database, options.secret);
    });
    const log = pragma(database, 'journal_mode') === 'wal' ? new LogSync(database, path) : undefined;
    const close = (): void => {
      log?.close();
      database.close();
    };
    return { path, database, vault: new Vault(dataKey), sync: log && (() => log.sync()), close };
  } catch (error) {
    database.close();
    if (isBusy(error)) throw lockedError(path, error);
    throw isDamage(error) ? new DamagedFileError((error as Error).message) : error;
  }
}

function prepareFile(path: string, logger: Logger): void {
  const size = sizeOf(path);
  if (size === 0 && sizeOf(`${path}-wal`) > 0) throw new DamagedFileError('the file is empty, but its log is not');
  // SQLite treats a file that is shorter than a page as an empty database, and would overwrite it.
  if (size > 0 && size < SMALLEST_PAGE_BYTES) throw new DamagedFileError(`the file has only ${size} bytes`);
  try {
    closeSync(openSync(path, 'wx', 0o600));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    restrictPermissions(path, logger);
  }
}

function sizeOf(path: string): number {
  return statIfExists(path)?.size ?? 0;
}

function restrictPermissions(path: string, logger: Logger): void {
  if (process.platform === 'win32' || (statSync(path).mode & 0o077) === 0) return;
  try {
    chmodSync(path, 0o600);
  } catch (error) {
    logger.warn({ path, error }, 'the storage file can be read by other users of this machine');
  }
}

/** The file's schema version, or 0 if it is empty. Does not write. */
function readSchemaVersion(database: DatabaseSync, path: string, layout: Layout): number {
  const version = Number(pragma(database, 'user_version'));
  const application = Number(pragma(database, 'application_id'));
  const tables = database.prepare('SELECT count(*) AS n FROM sqlite_schema').get()?.['n'];
  if (application === 0 && version === 0 && tables === 0) return 0;
  if (application !== layout.applicationId) {
    throw invalidOptions(`${layout.owner}: ${path} is a database of another application: use a separate file`);
  }
  if (version > layout.migrations.length) {
    throw new MatrixClientManagerError(
      'STORAGE',
      `${path} has schema version ${version}, but this release supports versions up to ${layout.migrations.length}: ` +
        'use the release that wrote the file, or a later one; the file was not changed',
    );
  }
  if (version < 1) throw new DamagedFileError('the schema version is missing');
  return version;
}

function pragma(database: DatabaseSync, name: string): unknown {
  return Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0];
}

function checkIntegrity(database: DatabaseSync, layout: Layout, version: number): void {
  // quick_check would miss a damaged index, which hides existing records. integrity_check takes half a second for 400 MB
  // and 400,000 records; quick_check takes two thirds of that.
  const [problem] = Object.values(database.prepare('PRAGMA integrity_check(1)').get() ?? {});
  if (problem !== 'ok') throw new DamagedFileError(`integrity_check: ${String(problem).replaceAll('\n', ' ')}`);
  try {
    probeLayout(database, layout, version);
  } catch (error) {
    throw new DamagedFileError(`the tables are not those of schema version ${version}: ${(error as Error).message}`);
  }
}

function openDataKey(database: DatabaseSync, path: string, secret: string | Uint8Array, { owner }: Layout): Buffer {
  const row = database.prepare(`SELECT value FROM meta WHERE name = 'keyring'`).get();
  const opened = openKeyring(row?.['value'], secret);
  if (opened.outcome === 'damaged') throw new DamagedFileError('the keyring is damaged');
  if (opened.outcome === 'opened') return opened.dataKey;
  throw invalidOptions(
    `${owner}: \`secret\` is not the one that ${path} was created with: use the original secret, or a new file`,
  );
}

function configure(database: DatabaseSync): void {
  // fullfsync: on macOS a plain fsync does not flush the drive's cache. It has no effect on other systems.
  database.exec(
    `PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON;
     PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = 16777216`,
  );
}

function createDataKey(database: DatabaseSync, secret: string | Uint8Array): Buffer {
  const { keyring, dataKey } = createKeyring(secret);
  database.prepare(`INSERT INTO meta (name, value) VALUES ('keyring', ?)`).run(keyring);
  return dataKey;
}
