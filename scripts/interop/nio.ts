import { readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';

import { withFileLock } from '../synapse/file-lock.js';
import { makeVenv, type Report } from '../synapse/python-venv.js';
import { runCommand, tail } from '../synapse/run-command.js';
import type { Installed } from './foreign-clients.js';

const script = resolve(import.meta.dirname, '../../test/interop/nio/client.py');

/**
 * Makes a virtual environment with a release of matrix-nio and its encryption.
 * @param tools - programs without which its crypto library cannot be built
 */
export const installNio =
  (version: string, tools: readonly string[] = []) =>
  async (home: string, report: Report): Promise<Installed> => {
    const venv = join(home, `nio-${version}`);
    const stamp = join(venv, 'installed');
    const python = join(venv, 'bin/python');
    const missing = await missingTools(tools);
    return withFileLock(`${venv}.lock`, async () => {
      if ((await readFile(stamp, 'utf8').catch(() => '')) !== version) {
        if (missing.length > 0) return { unavailable: `its crypto library is built with ${missing.join(', ')}` };
        report(`Installing matrix-nio ${version} into ${venv} (once, about half a minute)`);
        await rm(venv, { recursive: true, force: true });
        await install(venv, version, report);
        await writeFile(stamp, version);
      }
      return { command: [python, script] };
    });
  };

async function install(venv: string, version: string, report: Report): Promise<void> {
  const failed = await makeVenv(process.env['SYNAPSE_PYTHON'] ?? 'python3', venv, report);
  if (failed) throw new Error(`No matrix-nio: no virtual environment could be made:\n${tail(failed.output)}`);
  const pip = ['-m', 'pip', 'install', '--quiet', `matrix-nio[e2e]==${version}`];
  // libolm asks for an older CMake than CMake 4 speaks.
  const installed = await runCommand(join(venv, 'bin/python'), pip, { CMAKE_POLICY_VERSION_MINIMUM: '3.5' });
  if (installed.code !== 0) {
    throw new Error(`No matrix-nio: pip could not install ${version}:\n${tail(installed.output)}`);
  }
}

async function missingTools(tools: readonly string[]): Promise<string[]> {
  const results = await Promise.all(tools.map((tool) => runCommand(tool, ['--version'])));
  return tools.filter((_tool, n) => results[n]?.code !== 0);
}
