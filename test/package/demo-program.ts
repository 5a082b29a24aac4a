import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';

/** A program in a terminal of its own, which Ctrl-C interrupts with all that it has started. */
export class TerminalProgram {
  output = '';
  readonly #child: ChildProcess;
  readonly #closed: Promise<unknown>;

  constructor(program: string, args: readonly string[], cwd: string) {
    const env = { ...process.env, CI: '1' };
    this.#child = spawn(program, args, { cwd, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => (this.output += text));
    }
    this.#closed = once(this.#child, 'close');
  }

  async printed(pattern: RegExp): Promise<RegExpMatchArray> {
    for (;;) {
      const match = this.output.match(pattern);
      if (match) return match;
      if (!this.#isRunning) throw new Error(`ended without printing ${pattern}: ${this.output}`);
      await Promise.race([once(this.#child.stdout!, 'data'), this.#closed]);
    }
  }

  /** Presses Ctrl-C. Resolves when all has ended. */
  async interrupt(): Promise<void> {
    this.#signal('SIGINT');
    await this.#closed;
  }

  /** Ends it if it still runs. */
  kill(): void {
    if (this.#isRunning) this.#signal('SIGKILL');
  }

  get #isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  #signal(signal: NodeJS.Signals): void {
    process.kill(-this.#child.pid!, signal);
  }
}
