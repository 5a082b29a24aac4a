import type { DatabaseSync } from 'node:sqlite';

/** The schema of one kind of database file. Every kind has a table `meta` with the keyring. */
export interface Layout {
  /** Name of the function or option that opens such files, for error messages. */
  readonly owner: string;
  /** `application_id` in the file's header, which identifies this kind of file. */
  readonly applicationId: number;
  /** The SQL that migrates a file from each version to the next, starting from an empty file. Never change a released one. */
  readonly migrations: readonly string[];
  /** For each version: statements that can be prepared only if the file has the tables of that version. */
  readonly probes: readonly (readonly string[])[];
}

/** Migrates the file from one version (0: empty) to a later one. Call it inside a transaction. */
export function migrate(
  database: DatabaseSync,
  { applicationId, migrations }: Layout,
  from: number,
  to: number = migrations.length,
): void {
  for (const migration of migrations.slice(from, to)) database.exec(migration);
  database.exec(`PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${to}`);
}

/** Throws if tables, columns or indexes of `version` are missing. */
export function probeLayout(database: DatabaseSync, { probes }: Layout, version: number): void {
  for (const probe of probes[version - 1] ?? []) database.prepare(probe);
}
