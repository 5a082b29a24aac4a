/**
 * Tries the releases of matrix-js-sdk from the examined one on: `npm run sdk:versions`. Installs each into a temporary
 * folder, looks for the private parts that src/sdk/private-surface.ts names, and reports the first version that lacks
 * one. Fails where that version is inside the range of package.json, so that an installation could get it.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { build } from 'tsup';

import { examinedSdk } from '../src/sdk/private-surface.js';

const run = promisify(execFile);
const repository = resolve(import.meta.dirname, '..');
const program = `
import { createClient } from 'matrix-js-sdk';
import { missingClientParts, missingCryptoParts } from './private-surface.js';
const quiet = { trace() {}, debug() {}, info() {}, warn() {}, error() {}, getChild: () => quiet };
const fetchFn = async () => Response.json({ errcode: 'M_NOT_FOUND', error: 'no' }, { status: 404 });
const client = createClient({ baseUrl: 'http://localhost', userId: '@a:x', deviceId: 'D', accessToken: 't', fetchFn, logger: quiet });
const missing = missingClientParts(client);
await client.initRustCrypto({ useIndexedDB: false });
missing.push(...missingCryptoParts(client));
process.stdout.write('missing ' + JSON.stringify(missing));
process.exit(0);
`;

/** Released versions from the examined line on, oldest first; release candidates are left out. */
async function versions(): Promise<string[]> {
  const { stdout } = await run('npm', ['view', 'matrix-js-sdk', 'versions', '--json']);
  const floor = parts(examinedSdk.slice(1));
  return (JSON.parse(stdout) as string[])
    .filter((version) => !version.includes('-') && compare(parts(version), floor) >= 0)
    .toSorted((a, b) => compare(parts(a), parts(b)));
}

function parts(version: string): number[] {
  return version.split('.').map(Number);
}

function compare(a: readonly number[], b: readonly number[]): number {
  const index = a.findIndex((part, i) => part !== b[i]);
  return index < 0 ? 0 : (a[index] ?? 0) - (b[index] ?? 0);
}

/** Whether `~a.b.c` takes the version. */
function isInRange(version: string): boolean {
  const [major, minor] = parts(examinedSdk.slice(1));
  const [itsMajor, itsMinor] = parts(version);
  return itsMajor === major && itsMinor === minor;
}

/** The parts that this version lacks; an error that the program ends with counts as one. */
async function missingIn(version: string): Promise<string[]> {
  const dir = await mkdtemp(join(tmpdir(), 'sdk-version-'));
  try {
    await writeFile(join(dir, 'package.json'), JSON.stringify({ name: 'sdk-version', private: true, type: 'module' }));
    await run('npm', ['install', '--no-audit', '--no-fund', `matrix-js-sdk@${version}`], { cwd: dir });
    await build({
      entry: [join(repository, 'src/sdk/private-surface.ts')],
      outDir: dir,
      format: ['esm'],
      target: 'node22',
      external: ['matrix-js-sdk'],
      silent: true,
      config: false,
      clean: false,
    });
    await writeFile(join(dir, 'look.js'), program);
    const { stdout } = await run(process.execPath, ['look.js'], { cwd: dir });
    return JSON.parse(stdout.slice(stdout.lastIndexOf('missing ') + 'missing '.length)) as string[];
  } catch (error) {
    return [error instanceof Error ? error.message : String(error)];
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

const all = await versions();
if (all.length === 0) throw new Error(`the registry has no matrix-js-sdk from ${examinedSdk.slice(1)} on`);
for (const version of all) {
  const missing = await missingIn(version);
  if (missing.length > 0) {
    console.log(`matrix-js-sdk ${version} is the first that breaks: ${missing.join(', ')}`);
    process.exit(isInRange(version) ? 1 : 0);
  }
  console.log(`matrix-js-sdk ${version} has all parts${isInRange(version) ? '' : ' (outside of the range)'}`);
}
console.log(`no released version breaks; the range is ${examinedSdk}`);
