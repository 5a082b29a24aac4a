import type { DatabaseSync } from 'node:sqlite';

/** Stands in the file's header and tells our files from others ("mcms"). */
export const applicationId = 0x6d_63_6d_73;

/**
 * What brings a file from each version to the next, the first from nothing. Never change one that was released: add
 * one. Sealed values bind to user, kind and index, not to a table, so records may move between tables.
 */
const migrations: readonly string[] = [
  `CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
   CREATE TABLE credentials (user_id TEXT PRIMARY KEY, idx BLOB NOT NULL, sealed BLOB NOT NULL);`,

  `CREATE TABLE records (
     seq INTEGER PRIMARY KEY,
     user_id TEXT NOT NULL,
     kind TEXT NOT NULL,
     idx BLOB NOT NULL,
     sealed BLOB NOT NULL
   ) STRICT;
   CREATE UNIQUE INDEX records_by_place ON records (user_id, kind, idx);
   CREATE INDEX sends_in_order ON records (kind, seq) WHERE kind = 'queued' OR kind = 'failed' OR kind = 'sent';
   CREATE TABLE quarantine (
     seq INTEGER PRIMARY KEY,
     user_id TEXT NOT NULL,
     kind TEXT NOT NULL,
     idx BLOB NOT NULL,
     sealed BLOB NOT NULL,
     found_at INTEGER NOT NULL
   ) STRICT;
   INSERT INTO records (user_id, kind, idx, sealed) SELECT user_id, 'credentials', idx, sealed FROM credentials;
   DROP TABLE credentials;`,
];

export const schemaVersion = migrations.length;

/** Brings the file from one version (0: empty) to a later one; the caller holds a transaction. */
export function migrate(database: DatabaseSync, from: number, to: number = schemaVersion): void {
  for (const migration of migrations.slice(from, to)) database.exec(migration);
  database.exec(`PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${to}`);
}

/** Statements that only a file of that version can prepare: what the next migration and the records need. */
const probes: readonly (readonly string[])[] = [
  ['SELECT name, value FROM meta', 'SELECT user_id, idx, sealed FROM credentials'],
  [
    'SELECT name, value FROM meta',
    'SELECT seq, user_id, kind, idx, sealed FROM records INDEXED BY records_by_place WHERE user_id = ?',
    `SELECT seq FROM records INDEXED BY sends_in_order WHERE kind = 'queued'`,
    'SELECT seq, user_id, kind, idx, sealed, found_at FROM quarantine',
  ],
];

/** Throws where tables, columns or indexes of `version` are missing. */
export function probeSchema(database: DatabaseSync, version: number): void {
  for (const probe of probes[version - 1] ?? []) database.prepare(probe);
}
