/**
 * `npm run release:version`: the version of the next release, from the changesets there are, in package.json, the lock
 * file, the source and CHANGELOG.md. Without changesets, package.json has the version that is released, as at first.
 */
import { execFileSync } from 'node:child_process';
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { releasedChangelog } from './changelog.js';

const root = resolve(import.meta.dirname, '../..');

function run(command: string, ...args: readonly string[]): void {
  execFileSync(command, args, { cwd: root, stdio: 'inherit' });
}

function rewrite(path: string, change: (text: string) => string): void {
  const file = resolve(root, path);
  writeFileSync(file, change(readFileSync(file, 'utf8')));
}

const changesets = globSync('.changeset/*.md', { cwd: root }).filter((path) => !path.endsWith('README.md'));
if (changesets.length > 0) run('changeset', 'version'); // which fails where there are none
const { version } = JSON.parse(readFileSync(resolve(root, 'package.json'), 'utf8')) as { version: string };
rewrite('CHANGELOG.md', (text) => releasedChangelog(text, version, new Date().toISOString().slice(0, 10)));
rewrite('src/core/version.ts', (text) => text.replace(/(?<=libraryVersion = ')[^']*/, version));
run('npm', 'install', '--package-lock-only', '--no-audit', '--no-fund');
