import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';

import { repository } from './consumer.js';
import { run } from './run.js';

/** The newest Node of a major version, from the npm package of that name, kept under node_modules/.cache. */
export async function nodeOf(major: number): Promise<string> {
  if (process.versions.node.startsWith(`${major}.`)) return process.execPath;
  const home = join(repository, `node_modules/.cache/node-${major}`);
  const program = join(home, 'node_modules/.bin/node');
  if (!existsSync(program)) {
    await mkdir(home, { recursive: true });
    await run('npm', ['install', '--prefix', home, '--no-audit', '--no-fund', `node@${major}`], home);
  }
  return program;
}
