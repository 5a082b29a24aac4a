import { readdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type * as index from 'matrix-client-manager';
import type * as testing from 'matrix-client-manager/testing';
import type * as undici from 'matrix-client-manager/undici';
import type * as clientRegistry from '../../src/clients/client-registry.js';
import type * as connectionPolicy from '../../src/clients/connection-policy.js';

export const repository = resolve(import.meta.dirname, '../..');

/** The entries of the library as built for this run, by file name. */
interface Entries {
  readonly index: typeof index;
  readonly testing: typeof testing;
  readonly undici: typeof undici;
  readonly 'client-registry': typeof clientRegistry;
  readonly 'connection-policy': typeof connectionPolicy;
}

/** Where the library was built to: set by {@link buildLibrary}, inherited by every process. */
const folder = (): string => process.env['BENCH_LIBRARY'] ?? '';

/**
 * Builds the library as for its package, without types, into a folder of this run: what is measured is what users get,
 * and stays the same while somebody works on the source. @returns what removes it
 */
export async function buildLibrary(): Promise<() => Promise<void>> {
  const { build } = await import('tsup');
  const { default: config } = await import('../../tsup.config.ts');
  const outDir = join(repository, `node_modules/.cache/bench/${process.pid}`);
  if (typeof config !== 'object' || Array.isArray(config)) throw new Error('expected tsup.config.ts to be one object');
  // The registry is internal: the sweep of 100,000 users is driven through it.
  const internal = {
    'client-registry': 'src/clients/client-registry.ts',
    'connection-policy': 'src/clients/connection-policy.ts',
  };
  const entry = { ...(config.entry as Record<string, string>), ...internal };
  await build({ ...config, entry, outDir, format: ['esm'], dts: false, sourcemap: true, silent: true, config: false });
  process.env['BENCH_LIBRARY'] = outDir;
  return () => rm(outDir, { recursive: true, force: true });
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
