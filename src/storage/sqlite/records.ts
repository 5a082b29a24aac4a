import type { DatabaseSync } from 'node:sqlite';
import type { Vault } from './vault.js';
import { Statements } from './statements.js';

/** The kind of a record. The kind of a send is its state. */
export type RecordKind =
  | 'credentials'
  | 'since'
  | 'clientSince'
  | 'accountData'
  | 'room'
  | 'delivered'
  | 'journal'
  | 'deadLetter'
  | 'queued'
  | 'failed'
  | 'sent';

export interface StoredRecord {
  readonly seq: number;
  readonly userId: string;
  readonly kind: RecordKind;
  readonly key: string;
  readonly value: string;
}

/** A record that could not be decrypted and was moved to the quarantine table. */
export interface DamagedRecord {
  readonly userId: string;
  readonly kind: string;
}

interface Row {
  readonly seq: number;
  readonly user_id: string;
  readonly kind: RecordKind;
  readonly idx: Uint8Array;
  readonly sealed: Uint8Array;
}

const COLUMNS = 'seq, user_id, kind, idx, sealed';
/** Maximum number of quarantined records. Beyond it the oldest are deleted. */
const QUARANTINED_RECORDS = 1_000;

/**
 * The encrypted records of a file: for each user and kind, a map of keys to values, in the order in which keys were added.
 * User, kind and sequence number are not encrypted. All methods are synchronous and need a transaction of the caller. A
 * record that cannot be decrypted is quarantined, reported to `onDamage`, and counts as absent.
 */
export class Records {
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

  get(userId: string, kind: RecordKind, key = ''): StoredRecord | undefined {
    const row = this.#statements
      .prepare(`SELECT ${COLUMNS} FROM records WHERE user_id = ? AND kind = ? AND idx = ?`)
      .get(userId, kind, this.#vault.index(userId, key));
    return row && this.#unseal(row as unknown as Row);
  }

  /** Adds or replaces a value. A replaced value keeps its place in the order. */
  put(userId: string, kind: RecordKind, key: string, value: string): void {
    this.#insert(userId, kind, key, value, 'DO UPDATE SET sealed = excluded.sealed');
  }

  /** Adds a key without a value, unless the key exists. */
  add(userId: string, kind: RecordKind, key: string): void {
    this.#insert(userId, kind, key, '', 'DO NOTHING');
  }

  /** @returns whether the record existed */
  delete(userId: string, kind: RecordKind, key = ''): boolean {
    const statement = this.#statements.prepare('DELETE FROM records WHERE user_id = ? AND kind = ? AND idx = ?');
    return statement.run(userId, kind, this.#vault.index(userId, key)).changes > 0;
  }

  deleteKind(userId: string, kind: RecordKind): void {
    this.#statements.prepare('DELETE FROM records WHERE user_id = ? AND kind = ?').run(userId, kind);
  }

  deleteUser(userId: string): void {
    this.#statements.prepare('DELETE FROM records WHERE user_id = ?').run(userId);
    this.#statements.prepare('DELETE FROM quarantine WHERE user_id = ?').run(userId);
  }

  /** The user's records of a kind in order. @param limit - how many at most; -1, the default, is all */
  list(userId: string, kind: RecordKind, limit = -1): StoredRecord[] {
    const rows = this.#statements.prepare(
      `SELECT ${COLUMNS} FROM records WHERE user_id = ? AND kind = ? ORDER BY seq LIMIT ?`,
    );
    return this.#unsealAll(rows.all(userId, kind, limit));
  }

  /** The records of a kind of all users, in order. Only sends have an index for this. */
  listOfAllUsers(kind: 'queued' | 'failed' | 'sent'): StoredRecord[] {
    // The kind is a literal in the SQL text, because SQLite does not use a partial index for a parameter.
    return this.#unsealAll(
      this.#statements.prepare(`SELECT ${COLUMNS} FROM records WHERE kind = '${kind}' ORDER BY seq`).all(),
    );
  }

  /** Deletes all but the newest `limit` records of a kind. */
  trim(userId: string, kind: RecordKind, limit: number): void {
    const count = this.#statements
      .prepare('SELECT count(*) AS n FROM records WHERE user_id = ? AND kind = ?')
      .get(userId, kind);
    const excess = Number(count?.['n']) - limit;
    if (excess <= 0) return;
    this.#statements
      .prepare(
        `DELETE FROM records WHERE seq IN
         (SELECT seq FROM records WHERE user_id = ? AND kind = ? ORDER BY seq LIMIT ?)`,
      )
      .run(userId, kind, excess);
  }

  #insert(userId: string, kind: RecordKind, key: string, value: string, onConflict: string): void {
    const index = this.#vault.index(userId, key);
    const sealed = this.#vault.seal({ userId, kind, index }, pack(key, value));
    this.#statements
      .prepare(
        `INSERT INTO records (user_id, kind, idx, sealed) VALUES (?, ?, ?, ?)
       ON CONFLICT (user_id, kind, idx) ${onConflict}`,
      )
      .run(userId, kind, index, sealed);
  }

  #unsealAll(rows: unknown[]): StoredRecord[] {
    return rows.map((row) => this.#unseal(row as Row)).filter((record) => record !== undefined);
  }

  #unseal(row: Row): StoredRecord | undefined {
    const { seq, user_id: userId, kind, idx: index, sealed } = row;
    const text = this.#vault.unseal({ userId, kind, index }, sealed);
    if (text !== undefined) return { seq, userId, kind, ...unpack(text) };
    this.#statements
      .prepare(
        `INSERT INTO quarantine (user_id, kind, idx, sealed, found_at)
         SELECT user_id, kind, idx, sealed, ? FROM records WHERE seq = ?`,
      )
      .run(this.#now(), seq);
    this.#statements.prepare('DELETE FROM records WHERE seq = ?').run(seq);
    this.#statements
      .prepare('DELETE FROM quarantine WHERE seq <= (SELECT max(seq) FROM quarantine) - ?')
      .run(QUARANTINED_RECORDS);
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
