import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type * as index from 'matrix-client-manager';
import type * as testing from 'matrix-client-manager/testing';
import type * as undici from 'matrix-client-manager/undici';
import type * as clientRegistry from '../../src/users/client-registry.js';

export const repository = resolve(import.meta.dirname, '../..');

/** The entries of the library as built for this run, by file name. */
interface Entries {
  readonly index: typeof index;
  readonly testing: typeof testing;
  readonly undici: typeof undici;
  readonly 'client-registry': typeof clientRegistry;
}

/** A folder for each run that goes on, named by its process. */
const runs = join(repository, 'node_modules/.cache/bench');
/** The folder of this run, with the library in it: set by {@link buildLibrary}, inherited by every process. */
const folder = (): string => process.env['BENCH_RUN'] ?? '';

/**
 * Builds the library as for its package, without types, into a folder of this run: what is measured is what users get,
 * and stays the same while somebody works on the source.
 */
export async function buildLibrary(): Promise<void> {
  const { build } = await import('tsup');
  const { esm } = await import('../../tsup.config.ts');
  mkdirSync(runs, { recursive: true });
  removeDeadRuns();
  const outDir = join(runs, `${process.pid}`);
  // The registry is internal: the sweep of 100,000 users is driven through it.
  const internal = {
    'client-registry': 'src/users/client-registry.ts',
  };
  const entry = { ...(esm.entry as Record<string, string>), ...internal };
  process.env['BENCH_RUN'] = outDir;
  await build({ ...esm, entry, outDir, silent: true, config: false });
}

/** What a contender writes to; it goes with the run. */
export function scratchFolder(): string {
  return mkdtempSync(join(folder(), 'scratch-'));
}

/** Removes the library and all that the contenders have written. A process whose run was killed does it as well. */
export function removeRun(): void {
  if (folder() !== '') rmSync(folder(), { recursive: true, force: true, maxRetries: 3 });
}

/** Of runs that were killed with all of their processes. */
function removeDeadRuns(): void {
  for (const pid of readdirSync(runs)) {
    if (!isRunning(Number(pid))) rmSync(join(runs, pid), { recursive: true, force: true });
  }
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

export function hasEntry(name: keyof Entries): boolean {
  return readdirSync(folder()).includes(`${name}.js`);
}

export function entryUrl(name: keyof Entries): string {
  return pathToFileURL(join(folder(), `${name}.js`)).href;
}

export async function importLibrary<Name extends keyof Entries>(name: Name): Promise<Entries[Name]> {
  return (await import(entryUrl(name))) as Entries[Name];
}
