import type { DatabaseSync } from 'node:sqlite';
import type { RecordKind, Records, StoredRecord } from '../records.js';
import { Statements } from './statements.js';
import type { Vault } from './vault.js';

/** A record that could not be decrypted and was moved to the quarantine table. */
export interface DamagedRecord {
  readonly userId: string;
  readonly kind: string;
}

interface Row {
  readonly seq: number;
  readonly user_id: string;
  readonly kind: string;
  readonly idx: Uint8Array;
  readonly sealed: Uint8Array;
}

const COLUMNS = 'seq, user_id, kind, idx, sealed';
/** The limit of SQLite for all rows. */
const ALL = -1;
/** Maximum number of quarantined records. Beyond it the oldest are deleted. */
const QUARANTINED_RECORDS = 1_000;

/**
 * The encrypted records of a file. User, kind and sequence number are not encrypted. All methods are synchronous and need
 * a transaction of the caller. A record that cannot be decrypted is quarantined, reported to `onDamage`, and counts as
 * absent.
 */
export class SealedRecords implements Records {
  readonly #vault: Vault;
  readonly #now: () => number;
  readonly #onDamage: (record: DamagedRecord) => void;
  readonly #statements: Statements;

  constructor(database: DatabaseSync, vault: Vault, now: () => number, onDamage: (record: DamagedRecord) => void) {
    this.#statements = new Statements(database);
    this.#vault = vault;
    this.#now = now;
    this.#onDamage = onDamage;
  }

  get(userId: string, kind: RecordKind, key = ''): string | undefined {
    const sql = `SELECT ${COLUMNS} FROM records WHERE user_id = ? AND kind = ? AND idx = ?`;
    const row = this.#statements.get(sql, userId, kind, this.#vault.index(userId, key));
    return row === undefined ? undefined : this.#unseal(row)?.value;
  }

  has(userId: string, kind: RecordKind, key: string): boolean {
    const sql = 'SELECT 1 FROM records WHERE user_id = ? AND kind = ? AND idx = ?';
    return this.#statements.get(sql, userId, kind, this.#vault.index(userId, key)) !== undefined;
  }

  put(userId: string, kind: RecordKind, key: string, value: string): void {
    this.#insert(userId, kind, key, value, 'DO UPDATE SET sealed = excluded.sealed');
  }

  add(userId: string, kind: RecordKind, key: string): void {
    this.#insert(userId, kind, key, '', 'DO NOTHING');
  }

  delete(userId: string, kind: RecordKind, key = ''): boolean {
    const sql = 'DELETE FROM records WHERE user_id = ? AND kind = ? AND idx = ?';
    return this.#statements.run(sql, userId, kind, this.#vault.index(userId, key)).changes > 0;
  }

  deleteKind(userId: string, kind: RecordKind): void {
    this.#statements.run('DELETE FROM records WHERE user_id = ? AND kind = ?', userId, kind);
  }

  deleteUser(userId: string): void {
    this.#statements.run('DELETE FROM records WHERE user_id = ?', userId);
    this.#statements.run('DELETE FROM quarantine WHERE user_id = ?', userId);
  }

  list(userId: string, kind: RecordKind, limit = ALL): StoredRecord[] {
    const sql = `SELECT ${COLUMNS} FROM records WHERE user_id = ? AND kind = ? ORDER BY seq LIMIT ?`;
    return this.#unsealAll(this.#statements.all(sql, userId, kind, limit));
  }

  listOfAllUsers(kind: 'queued' | 'failed' | 'sent'): StoredRecord[] {
    // The kind is a literal in the SQL text, because SQLite does not use the partial index on sends for a parameter.
    const sql = `SELECT ${COLUMNS} FROM records WHERE kind = '${kind}' ORDER BY seq`;
    return this.#unsealAll(this.#statements.all(sql));
  }

  trim(userId: string, kind: RecordKind, limit: number): void {
    const countSql = 'SELECT count(*) AS n FROM records WHERE user_id = ? AND kind = ?';
    const excess = (this.#statements.get(countSql, userId, kind) as { n: number }).n - limit;
    if (excess <= 0) return;
    const sql = `DELETE FROM records WHERE seq IN
                 (SELECT seq FROM records WHERE user_id = ? AND kind = ? ORDER BY seq LIMIT ?)`;
    this.#statements.run(sql, userId, kind, excess);
  }

  #insert(userId: string, kind: RecordKind, key: string, value: string, onConflict: string): void {
    const index = this.#vault.index(userId, key);
    const sealed = this.#vault.seal({ userId, kind, index }, pack(key, value));
    const sql = `INSERT INTO records (user_id, kind, idx, sealed) VALUES (?, ?, ?, ?)
                 ON CONFLICT (user_id, kind, idx) ${onConflict}`;
    this.#statements.run(sql, userId, kind, index, sealed);
  }

  #unsealAll(rows: unknown[]): StoredRecord[] {
    return rows.map((row) => this.#unseal(row)).filter((record) => record !== undefined);
  }

  #unseal(row: unknown): StoredRecord | undefined {
    const { seq, user_id: userId, kind, idx: index, sealed } = row as Row;
    const text = this.#vault.unseal({ userId, kind, index }, sealed);
    if (text !== undefined) return unpack(text);
    this.#statements.run(
      `INSERT INTO quarantine (user_id, kind, idx, sealed, found_at)
       SELECT user_id, kind, idx, sealed, ? FROM records WHERE seq = ?`,
      this.#now(),
      seq,
    );
    this.#statements.run('DELETE FROM records WHERE seq = ?', seq);
    const excessSql = 'DELETE FROM quarantine WHERE seq <= (SELECT max(seq) FROM quarantine) - ?';
    this.#statements.run(excessSql, QUARANTINED_RECORDS);
    this.#onDamage({ userId, kind });
    return undefined;
  }
}

/** Encodes key and value as key length, key and value. JSON would have to escape the long room states. */
function pack(key: string, value: string): string {
  return `${key.length}:${key}${value}`;
}

function unpack(text: string): { key: string; value: string } {
  const start = text.indexOf(':') + 1;
  const end = start + Number(text.slice(0, start - 1));
  return { key: text.slice(start, end), value: text.slice(end) };
}
