import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

export const examplesFolder = fileURLToPath(new URL('../../examples/', import.meta.url));

/** One of the examples in a process of its own, with what it prints. */
export class ExampleProcess {
  stdout = '';
  stderr = '';
  readonly #child: ChildProcess;
  readonly #closed: Promise<unknown>;

  /** @param env - what it gets besides our environment, of which no `MATRIX_` variable is handed down */
  constructor(name: string, env: NodeJS.ProcessEnv) {
    const own = Object.fromEntries(Object.entries(process.env).filter(([key]) => !key.startsWith('MATRIX_')));
    this.#child = spawn(process.execPath, ['--import', 'tsx', `examples/${name}.ts`], {
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
      env: { ...own, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.stdout += text));
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.stderr += text));
    this.#closed = once(this.#child, 'close');
  }

  /** Resolves when the process has ended by itself. */
  async ended(): Promise<{ code: number | null; stdout: string; stderr: string }> {
    await this.#closed;
    return { code: this.#child.exitCode, stdout: this.stdout, stderr: this.stderr };
  }

  async printed(pattern: RegExp): Promise<RegExpMatchArray> {
    for (;;) {
      const match = this.stdout.match(pattern);
      if (match) return match;
      if (this.#child.exitCode !== null) throw new Error(`ended without printing ${pattern}: ${this.stderr}`);
      await Promise.race([once(this.#child.stdout as NodeJS.ReadableStream, 'data'), this.#closed]);
    }
  }

  /** Does nothing to a process that has ended. */
  kill(signal: NodeJS.Signals): void {
    if (this.#child.exitCode === null) this.#child.kill(signal);
  }
}
