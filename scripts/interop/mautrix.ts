import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';

import { withFileLock } from '../synapse/file-lock.js';
import type { Report } from '../synapse/python-venv.js';
import { runCommand, tail } from '../synapse/run-command.js';
import type { Installed } from './foreign-clients.js';

const source = resolve(import.meta.dirname, '../../test/interop/mautrix');

/** Builds the client on mautrix-go; without cgo, so that Go is all it needs. */
export async function buildMautrix(home: string, report: Report): Promise<Installed> {
  const unavailable = await whyNoGo();
  if (unavailable !== undefined) return { unavailable };
  const program = join(home, 'mautrix');
  return withFileLock(`${program}.lock`, async () => {
    const digest = await digestOfSource();
    if ((await readFile(`${program}.digest`, 'utf8').catch(() => '')) !== digest) {
      report(`Building the client on mautrix-go into ${program} (once, one to three minutes)`);
      await mkdir(home, { recursive: true });
      const build = ['-C', source, 'build', '-tags', 'goolm', '-o', program, '.'];
      const built = await runCommand('go', build, { CGO_ENABLED: '0' });
      if (built.code !== 0) throw new Error(`No mautrix-go: the client could not be built:\n${tail(built.output)}`);
      await writeFile(`${program}.digest`, digest);
    }
    return { command: [program] };
  });
}

/** Inside the module, `go version` is the version that the module asks for, or fails. */
async function whyNoGo(): Promise<string | undefined> {
  const wanted = /^go (\d+)\.(\d+)/m.exec(await readFile(join(source, 'go.mod'), 'utf8'));
  const [, major = '', minor = ''] = wanted ?? [];
  const needed = `Go ${major}.${minor} or newer is needed`;
  const result = await runCommand('go', ['-C', source, 'version']);
  if (result.code !== 0) return `${needed}, and \`go version\` failed: ${result.output.trim()}`;
  const found = /go(\d+)\.(\d+)/.exec(result.output);
  const isEnough = Number(found?.[1]) === Number(major) && Number(found?.[2]) >= Number(minor);
  return isEnough ? undefined : `${needed}, and this is ${result.output.trim()}`;
}

async function digestOfSource(): Promise<string> {
  const hash = createHash('sha256');
  for (const name of (await readdir(source)).toSorted()) hash.update(name).update(await readFile(join(source, name)));
  return hash.digest('hex');
}
