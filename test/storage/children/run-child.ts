import type { ChildProcessByStdio } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';

export interface Child {
  readonly process: ChildProcessByStdio<null, Readable, Readable>;
  /** Resolves when the child has printed `count` lines, or has ended. */
  printed(count: number): Promise<void>;
  /** Kills the child; resolves to all the lines it printed. */
  kill(): Promise<string[]>;
  /** Waits for its end; resolves to all the lines it printed. */
  end(): Promise<string[]>;
}

interface ChildOptions {
  readonly uid?: number;
  /** In blocks of 1,024 bytes; a file cannot grow beyond it. */
  readonly fileSizeLimit?: number;
}

/** Runs a script of this folder in a Node process of its own; killed when the test ends. */
export function runChild(script: string, args: string[], { uid, fileSizeLimit }: ChildOptions = {}): Child {
  const node = [
    process.execPath,
    '--no-warnings',
    '--import',
    'tsx',
    fileURLToPath(new URL(script, import.meta.url)),
    ...args,
  ];
  const limited = ['bash', '-c', `trap '' XFSZ; ulimit -f ${fileSizeLimit}; exec "$@"`, 'bash', ...node];
  const [command = '', ...rest] = fileSizeLimit === undefined ? node : limited;
  const child = spawn(command, rest, { stdio: ['ignore', 'pipe', 'pipe'], ...(uid !== undefined && { uid }) });
  onTestFinished(() => void child.kill('SIGKILL'));
  const lines: string[] = [];
  const waiting = new Set<() => void>();
  const reader = createInterface({ input: child.stdout });
  reader.on('line', (line) => {
    lines.push(line);
    for (const wake of waiting) wake();
  });
  child.stderr.on('data', (data: Buffer) => process.stderr.write(data));
  const ended = Promise.all([once(child, 'close'), once(reader, 'close')]).then(() => lines);
  return {
    process: child,
    printed: (count) =>
      Promise.race([
        ended.then(() => {}),
        new Promise<void>((resolve) => {
          const wake = (): void => {
            if (lines.length >= count) resolve();
          };
          waiting.add(wake);
          wake();
        }),
      ]),
    kill: () => {
      child.kill('SIGKILL');
      return ended;
    },
    end: () => ended,
  };
}
