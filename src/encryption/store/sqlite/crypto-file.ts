import type { DatabaseSync } from 'node:sqlite';
import type { Layout } from '../../../storage/sqlite/layout.js';
import { Statements } from '../../../storage/sqlite/statements.js';

const firstProbes = [
  'SELECT name, value FROM meta',
  `SELECT id, user_id, device_id, sealed_key, commits, restore_pending
   FROM devices INDEXED BY devices_by_user WHERE user_id = ?`,
  'SELECT id, device, idx, sealed FROM databases INDEXED BY databases_by_device WHERE device = ?',
  'SELECT id, database, idx, sealed FROM records INDEXED BY records_by_database WHERE database = ?',
];
const secondProbes = [
  ...firstProbes,
  'SELECT id, device, idx, sealed FROM received INDEXED BY received_by_device WHERE device = ?',
];

/**
 * Each device has the SDK's `databases`, which have `records`. Its side records are in `received`: the first ones told
 * which messages it has received. User ids, device ids, `commits` and `restore_pending` are readable. A changed id makes
 * the device's keys unreadable; the other two can be changed without the secret.
 */
export const cryptoLayout: Layout = {
  owner: 'CryptoStore',
  applicationId: 0x6d_63_6d_65, // "mcme"
  migrations: [
    `CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
     CREATE TABLE devices (
       id INTEGER PRIMARY KEY,
       user_id TEXT NOT NULL,
       device_id TEXT NOT NULL,
       sealed_key BLOB NOT NULL,
       commits INTEGER NOT NULL,
       restore_pending INTEGER NOT NULL DEFAULT 0
     ) STRICT;
     CREATE UNIQUE INDEX devices_by_user ON devices (user_id, device_id);
     CREATE TABLE databases (id INTEGER PRIMARY KEY, device INTEGER NOT NULL, idx BLOB NOT NULL, sealed BLOB NOT NULL) STRICT;
     CREATE UNIQUE INDEX databases_by_device ON databases (device, idx);
     CREATE TABLE records (id INTEGER PRIMARY KEY, database INTEGER NOT NULL, idx BLOB NOT NULL, sealed BLOB NOT NULL) STRICT;
     CREATE UNIQUE INDEX records_by_database ON records (database, idx);`,
    `CREATE TABLE received (id INTEGER PRIMARY KEY, device INTEGER NOT NULL, idx BLOB NOT NULL, sealed BLOB NOT NULL) STRICT;
     CREATE UNIQUE INDEX received_by_device ON received (device, idx);`,
    // No other tables. Earlier releases would let the SDK encrypt the records of every device, find no keys in those of
    // a device without that (see sdk-sealing.ts), and create others over them. So they have to refuse the file.
    '',
  ],
  probes: [firstProbes, secondProbes, secondProbes],
};

export interface DeviceRow {
  readonly id: number;
  readonly user_id: string;
  readonly device_id: string;
  readonly sealed_key: Uint8Array;
  /** Number of commits to its databases. */
  readonly commits: number;
  /** 1 from the start of a restore from the key backup until it has ended. */
  readonly restore_pending: number;
}

export interface SealedRow {
  readonly id: number;
  readonly idx: Uint8Array;
  readonly sealed: Uint8Array;
}

/** The statements on a file of {@link cryptoLayout}. Synchronous. The caller opens transactions. */
export class CryptoFile {
  readonly #statements: Statements;

  constructor(database: DatabaseSync) {
    this.#statements = new Statements(database);
  }

  setKeyring(keyring: Uint8Array): void {
    this.#statements.run(`UPDATE meta SET value = ? WHERE name = 'keyring'`, keyring);
  }

  allDevices(): DeviceRow[] {
    return this.#statements.all('SELECT * FROM devices') as DeviceRow[];
  }

  devicesOf(userId: string): DeviceRow[] {
    return this.#statements.all('SELECT * FROM devices WHERE user_id = ? ORDER BY id', userId) as DeviceRow[];
  }

  addDevice(userId: string, deviceId: string, sealedKey: Uint8Array): number {
    const sql = 'INSERT INTO devices (user_id, device_id, sealed_key, commits) VALUES (?, ?, ?, 0)';
    return Number(this.#statements.run(sql, userId, deviceId, sealedKey).lastInsertRowid);
  }

  setKey(device: number, sealedKey: Uint8Array): void {
    this.#statements.run('UPDATE devices SET sealed_key = ? WHERE id = ?', sealedKey, device);
  }

  setRestorePending(device: number, pending: boolean): void {
    this.#statements.run('UPDATE devices SET restore_pending = ? WHERE id = ?', Number(pending), device);
  }

  /** @returns the number of the device's commits, this one included */
  incrementCommits(device: number): number {
    const row = this.#statements.get('UPDATE devices SET commits = commits + 1 WHERE id = ? RETURNING commits', device);
    return (row as Pick<DeviceRow, 'commits'>).commits;
  }

  deleteDevice(device: number): void {
    this.#statements.run('DELETE FROM records WHERE database IN (SELECT id FROM databases WHERE device = ?)', device);
    this.#statements.run('DELETE FROM databases WHERE device = ?', device);
    this.#statements.run('DELETE FROM received WHERE device = ?', device);
    this.#statements.run('DELETE FROM devices WHERE id = ?', device);
  }

  databasesOf(device: number): SealedRow[] {
    return this.#statements.all('SELECT id, idx, sealed FROM databases WHERE device = ?', device) as SealedRow[];
  }

  putDatabase(device: number, idx: Uint8Array, sealed: Uint8Array): number {
    const sql = `INSERT INTO databases (device, idx, sealed) VALUES (?, ?, ?)
                 ON CONFLICT (device, idx) DO UPDATE SET sealed = excluded.sealed RETURNING id`;
    return (this.#statements.get(sql, device, idx, sealed) as SealedRow).id;
  }

  recordsOf(database: number): SealedRow[] {
    return this.#statements.all('SELECT id, idx, sealed FROM records WHERE database = ?', database) as SealedRow[];
  }

  putRecord(database: number, idx: Uint8Array, sealed: Uint8Array): void {
    const sql = `INSERT INTO records (database, idx, sealed) VALUES (?, ?, ?)
                 ON CONFLICT (database, idx) DO UPDATE SET sealed = excluded.sealed`;
    this.#statements.run(sql, database, idx, sealed);
  }

  deleteRecord(database: number, idx: Uint8Array): void {
    this.#statements.run('DELETE FROM records WHERE database = ? AND idx = ?', database, idx);
  }

  countSideRecords(device: number): number {
    const row = this.#statements.get('SELECT count(*) AS count FROM received WHERE device = ?', device);
    return (row as { readonly count: number }).count;
  }

  findSideRecord(device: number, idx: Uint8Array): Uint8Array | undefined {
    const row = this.#statements.get('SELECT sealed FROM received WHERE device = ? AND idx = ?', device, idx);
    return (row as Pick<SealedRow, 'sealed'> | undefined)?.sealed;
  }

  /** Makes the record the newest of its device. @returns whether the device did not have it */
  putSideRecord(device: number, idx: Uint8Array, sealed: Uint8Array): boolean {
    const { changes } = this.#statements.run('DELETE FROM received WHERE device = ? AND idx = ?', device, idx);
    this.#statements.run('INSERT INTO received (device, idx, sealed) VALUES (?, ?, ?)', device, idx, sealed);
    return Number(changes) === 0;
  }

  deleteOldestSideRecords(device: number, count: number): void {
    const oldest = 'SELECT id FROM received WHERE device = ? ORDER BY id LIMIT ?';
    this.#statements.run(`DELETE FROM received WHERE id IN (${oldest})`, device, count);
  }

  deleteRecords(database: number): void {
    this.#statements.run('DELETE FROM records WHERE database = ?', database);
  }
}
