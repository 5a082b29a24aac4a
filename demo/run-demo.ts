import { explain } from '../examples/demo/explain.js';
import type { DemoCommand } from './command.js';
import { openBrowser } from './open-browser.js';
import { Demo } from './demo.js';

/** How long an orderly end may take, in milliseconds. */
const STOP_TIMEOUT_MS = 15_000;
/** Signals that follow the first one within this time count as the same, in milliseconds. */
const REPEATED_SIGNAL_MS = 500;

/** Runs the demo until Ctrl-C, SIGTERM or a closed terminal. */
export async function runDemo({ port, open, env }: DemoCommand): Promise<void> {
  const ending = new AbortController();
  let stoppedAt = 0;
  const stop = (): void => {
    // A second Ctrl-C does not wait. npm passes the first one on, so that it may arrive twice.
    if (ending.signal.aborted && Date.now() - stoppedAt > REPEATED_SIGNAL_MS) process.exit(130);
    if (ending.signal.aborted) return;
    stoppedAt = Date.now();
    process.stdout.write('\nStopping ...\n');
    setTimeout(() => process.exit(1), STOP_TIMEOUT_MS).unref();
    ending.abort();
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop);
  try {
    await using demo = await Demo.start({ port, env, signal: ending.signal });
    process.stdout.write(`Two users chat, on ${demo.description}\n\n  ${demo.url}\n\nCtrl-C ends it.\n`);
    if (open) openBrowser(demo.url, env);
    await new Promise<void>((resolve) => {
      if (ending.signal.aborted) resolve();
      ending.signal.addEventListener('abort', () => resolve());
    });
  } catch (error) {
    if (!ending.signal.aborted) {
      process.stderr.write(`The demo failed. ${explainStart(error, port)}\n`);
      process.exitCode = 1;
    }
  } finally {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.off(signal, stop);
  }
}

function explainStart(error: unknown, port: number): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'EADDRINUSE') return `Port ${port} is in use. Choose another one: --port 0 takes any that is free.`;
  if (code === 'EACCES') return `Port ${port} may not be used. Choose one above 1023, such as --port 8787.`;
  return explain(error);
}
