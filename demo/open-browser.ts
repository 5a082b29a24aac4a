import { spawn } from 'node:child_process';

/** Opens the page in the user's browser, if there is a display. A failure is no problem: the URL is printed, too. */
export function openBrowser(url: string, env: NodeJS.ProcessEnv): void {
  const command = browserCommand(url, env);
  if (!command) return;
  const [program, ...args] = command;
  const browser = spawn(program, args, { stdio: 'ignore', detached: true });
  browser.on('error', () => {});
  browser.unref();
}

/** The program that opens `url`, with its arguments; undefined without a display, and in CI. */
export function browserCommand(
  url: string,
  env: NodeJS.ProcessEnv,
  platform: NodeJS.Platform = process.platform,
): [program: string, ...args: string[]] | undefined {
  if (env['CI']) return undefined;
  if (platform === 'darwin') return env['SSH_CONNECTION'] ? undefined : ['open', url];
  if (platform === 'win32') return ['explorer.exe', url];
  return env['DISPLAY'] || env['WAYLAND_DISPLAY'] ? ['xdg-open', url] : undefined;
}
