import { readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';

import { withFileLock } from './file-lock.js';
import { makeVenv, type Report } from './python-venv.js';
import { runCommand, tail, type CommandResult } from './run-command.js';
import { synapseVersion } from './version.js';

const home = resolve(import.meta.dirname, '../../.synapse');
const venv = join(home, 'venv');
const stamp = join(venv, 'synapse-version');

/**
 * Gives the path of a Python that has Synapse: the one in `SYNAPSE_PYTHON` if that has it, otherwise one in a virtual
 * environment under `.synapse/venv`, made on first use and kept until the pinned version changes.
 * @throws when it cannot be made; the message says which step failed, with its output, and what to do.
 */
export async function ensureSynapse(report: Report): Promise<string> {
  const chosen = process.env['SYNAPSE_PYTHON'];
  if (chosen && (await runCommand(chosen, ['-c', 'import synapse.app.homeserver'])).code === 0) return chosen;
  return withFileLock(join(home, 'venv.lock'), async () => {
    const python = join(venv, 'bin/python');
    if ((await readFile(stamp, 'utf8').catch(() => '')) === synapseVersion) return python;
    await rm(venv, { recursive: true, force: true });
    report(`Installing Synapse ${synapseVersion} into ${venv} (once, about half a minute)`);
    const base = chosen ?? 'python3';
    const failed = await makeVenv(base, venv, report);
    if (failed) {
      throw failure(
        `${base} -m venv failed`,
        failed,
        'run `apt-get install python3 python3-venv`, or set SYNAPSE_PYTHON to a Python (3.10 or newer) that can make a ' +
          'virtual environment or has Synapse already, or set SYNAPSE_URL, SYNAPSE_ADMIN_USER and SYNAPSE_ADMIN_PASSWORD ' +
          'to use a Synapse that runs elsewhere',
      );
    }
    const install = await runCommand(python, ['-m', 'pip', 'install', '--quiet', `matrix-synapse==${synapseVersion}`]);
    if (install.code !== 0) {
      throw failure(
        `pip could not install matrix-synapse ${synapseVersion}`,
        install,
        'see that pip reaches its package index, or set SYNAPSE_PYTHON to a Python (3.10 or newer) that has Synapse',
      );
    }
    await writeFile(stamp, synapseVersion);
    return python;
  });
}

function failure(what: string, result: CommandResult, remedy: string): Error {
  const how = result.code === undefined ? 'could not be run' : `exit code ${result.code}`;
  return new Error(`No Synapse: ${what} (${how}):\n${tail(result.output)}\n  To fix it: ${remedy}.`);
}
