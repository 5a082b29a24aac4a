import type { ChildProcess } from 'node:child_process';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** A process that answers one question at a time. */
export class Child<Ask extends object> implements AsyncDisposable {
  readonly #process: ChildProcess;

  /** @param script - a file of this folder */
  constructor(script: string) {
    this.#process = fork(fileURLToPath(new URL(script, import.meta.url)), {
      execArgv: ['--no-warnings', '--import', 'tsx'],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'], // matrix-js-sdk writes to the console whatever logger it is given
    });
  }

  async ask(ask: Ask): Promise<unknown> {
    this.#process.send(ask);
    const ended = once(this.#process, 'exit').then(() => Promise.reject(new Error('a process of the benchmark ended')));
    const [answer] = (await Promise.race([once(this.#process, 'message'), ended])) as [unknown];
    return answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode !== null) return;
    const exited = once(this.#process, 'exit');
    this.#process.kill('SIGKILL');
    await exited;
  }
}

/** Answers the parent's questions, one at a time. */
export function answerParent(answer: (ask: never) => unknown): void {
  process.on('message', (ask) => {
    void Promise.resolve(answer(ask as never)).then((reply) => process.send?.(reply ?? null));
  });
  process.on('disconnect', () => process.exit());
}
