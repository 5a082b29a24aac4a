import type { Layout } from './layout.js';

/** Encrypted values are bound to user, kind and index, but not to a table, so that records may move between tables. */
export const storageLayout: Layout = {
  owner: 'sqliteStorage',
  applicationId: 0x6d_63_6d_73, // "mcms"
  migrations: [
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
  ],
  probes: [
    ['SELECT name, value FROM meta', 'SELECT user_id, idx, sealed FROM credentials'],
    [
      'SELECT name, value FROM meta',
      'SELECT seq, user_id, kind, idx, sealed FROM records INDEXED BY records_by_place WHERE user_id = ?',
      `SELECT seq FROM records INDEXED BY sends_in_order WHERE kind = 'queued'`,
      'SELECT seq, user_id, kind, idx, sealed, found_at FROM quarantine',
    ],
  ],
};
