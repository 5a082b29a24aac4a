import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

const paths = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/usr/bin/google-chrome-stable',
];
/** With a font that has emoji, and one for everything else: a bare machine has none. */
const packages = ['chromium', 'fonts-noto-color-emoji', 'fonts-noto-core'];
const INSTALL_TIMEOUT_MS = 600_000;

/** The path of Chromium: `CHROMIUM`, or that of the system. Root on Debian installs it if there is none. */
export async function findChromium(env: NodeJS.ProcessEnv = process.env): Promise<string> {
  const given = env['CHROMIUM'];
  if (given) {
    if (!existsSync(given)) throw new Error(`CHROMIUM names ${given}, which does not exist`);
    return given;
  }
  const found = paths.find((path) => existsSync(path));
  if (found) return found;
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) {
    throw new Error(
      'These tests need Chromium. Install it, on Debian with `apt-get install chromium`, or name it with CHROMIUM=/path.',
    );
  }
  process.stdout.write('Chromium is missing: installing it with apt-get\n');
  run('apt-get', ['update', '-qq']);
  run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...packages]);
  const installed = paths.find((path) => existsSync(path));
  if (!installed) throw new Error(`apt-get installed Chromium, and there is none at ${paths.join(', ')}`);
  return installed;
}

function run(program: string, args: readonly string[]): void {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const { status, stderr, error } = spawnSync(program, args, { env, encoding: 'utf8', timeout: INSTALL_TIMEOUT_MS });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} failed: ${error?.message ?? stderr}`);
}
