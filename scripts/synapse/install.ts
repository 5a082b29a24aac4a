import { readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';

import { withFileLock } from './file-lock.js';
import { runCommand, tail, type CommandResult } from './run-command.js';
import { synapseVersion } from './version.js';

const home = resolve(import.meta.dirname, '../../.synapse');
const venv = join(home, 'venv');
const stamp = join(venv, 'synapse-version');

type Report = (line: string) => void;

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
    await makeVenv(chosen ?? 'python3', report);
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

/** `python -m venv`; on Debian without python3-venv by installing that (root) or with virtualenv from pip. */
async function makeVenv(base: string, report: Report): Promise<void> {
  const attempt = (): Promise<CommandResult> => runCommand(base, ['-m', 'venv', '--clear', venv]);
  const first = await attempt();
  if (first.code === 0) return;
  const hasVirtualenv = (await runCommand(base, ['-m', 'virtualenv', '--version'])).code === 0;
  const pip = ['-m', 'pip', 'install', '--quiet', '--user', '--break-system-packages', 'virtualenv'];
  if (hasVirtualenv || (await runCommand(base, pip)).code === 0) {
    if ((await runCommand(base, ['-m', 'virtualenv', '--clear', venv])).code === 0) return;
  }
  if (await aptInstall(report)) {
    const second = await attempt();
    if (second.code === 0) return;
  }
  throw failure(
    `${base} -m venv failed`,
    first,
    'run `apt-get install python3 python3-venv`, or set SYNAPSE_PYTHON to a Python (3.10 or newer) that can make a ' +
      'virtual environment or has Synapse already, or set SYNAPSE_URL, SYNAPSE_ADMIN_USER and SYNAPSE_ADMIN_PASSWORD ' +
      'to use a Synapse that runs elsewhere',
  );
}

async function aptInstall(report: Report): Promise<boolean> {
  if (process.getuid?.() !== 0) return false;
  if ((await runCommand('apt-get', ['--version'])).code !== 0) return false;
  report('Installing python3 and python3-venv with apt-get');
  const noQuestions = { DEBIAN_FRONTEND: 'noninteractive' };
  await runCommand('apt-get', ['update', '-q'], noQuestions);
  const install = ['install', '-y', '-q', '--no-install-recommends', 'python3', 'python3-venv'];
  return (await runCommand('apt-get', install, noQuestions)).code === 0;
}

function failure(what: string, result: CommandResult, remedy: string): Error {
  const how = result.code === undefined ? 'could not be run' : `exit code ${result.code}`;
  return new Error(`No Synapse: ${what} (${how}):\n${tail(result.output)}\n  To fix it: ${remedy}.`);
}
