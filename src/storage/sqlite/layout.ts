import type { DatabaseSync } from 'node:sqlite';

/** What a kind of file of ours holds. Every kind has a table `meta` with the keyring. */
export interface Layout {
  /** What opens such files, for messages. */
  readonly owner: string;
  /** Stands in the file's header and tells our files from others. */
  readonly applicationId: number;
  /** What brings a file from each version to the next, the first from nothing. Never change one that was released. */
  readonly migrations: readonly string[];
  /** By version: statements that only a file of that version can prepare. */
  readonly probes: readonly (readonly string[])[];
}

/** Brings the file from one version (0: empty) to a later one; the caller holds a transaction. */
export function migrate(
  database: DatabaseSync,
  { applicationId, migrations }: Layout,
  from: number,
  to: number = migrations.length,
): void {
  for (const migration of migrations.slice(from, to)) database.exec(migration);
  database.exec(`PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${to}`);
}

/** Throws where tables, columns or indexes of `version` are missing. */
export function probeLayout(database: DatabaseSync, { probes }: Layout, version: number): void {
  for (const probe of probes[version - 1] ?? []) database.prepare(probe);
}
