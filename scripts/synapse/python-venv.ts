import { runCommand, type CommandResult } from './run-command.js';

/** Gets a line for each step that takes long. */
export type Report = (line: string) => void;

/**
 * Makes the virtual environment `venv`; on Debian without python3-venv by installing that (root) or with virtualenv from
 * pip. Resolves to the failed command, or to undefined if the environment is there.
 */
export async function makeVenv(base: string, venv: string, report: Report): Promise<CommandResult | undefined> {
  const attempt = (): Promise<CommandResult> => runCommand(base, ['-m', 'venv', '--clear', venv]);
  const first = await attempt();
  if (first.code === 0) return undefined;
  const hasVirtualenv = (await runCommand(base, ['-m', 'virtualenv', '--version'])).code === 0;
  const pip = ['-m', 'pip', 'install', '--quiet', '--user', '--break-system-packages', 'virtualenv'];
  if (hasVirtualenv || (await runCommand(base, pip)).code === 0) {
    if ((await runCommand(base, ['-m', 'virtualenv', '--clear', venv])).code === 0) return undefined;
  }
  if (await aptInstall(report)) {
    const second = await attempt();
    if (second.code === 0) return undefined;
  }
  return first;
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
