import type { ChildProcess } from 'node:child_process';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { removeRun } from './library.ts';

/** What a process does for its parent: functions by name, one argument each. */
export type Services = Readonly<Record<string, (argument: never) => unknown>>;

interface Call {
  readonly id: number;
  readonly name: string;
  readonly argument: unknown;
}

type Reply = { readonly id: number } & ({ readonly value: unknown } | { readonly error: string });

/** Tells a child to end by itself. */
const END = 'end';
/** How long one call may take. */
const PATIENCE_MS = 600_000;

/** A process of the benchmark, killed when disposed of. */
export class Child<S extends Services> implements AsyncDisposable {
  readonly #process: ChildProcess;
  readonly #waiting = new Map<
    number,
    { resolve: (value: never) => void; reject: (error: Error) => void; timer: NodeJS.Timeout }
  >();
  readonly #name: string;
  #calls = 0;

  /** @param script - a file under `bench/`; its process's standard output is thrown away, as the SDK writes to it */
  constructor(script: string, execArgv: readonly string[] = []) {
    this.#name = script;
    this.#process = fork(fileURLToPath(new URL(`../${script}`, import.meta.url)), {
      execArgv: ['--no-warnings', ...execArgv],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      serialization: 'advanced',
    });
    this.#process.on('message', (reply: Reply) => this.#settle(reply));
    this.#process.on('exit', (code, signal) => {
      const error = new Error(`${this.#name} ended with ${code ?? signal}`);
      for (const { reject } of this.#waiting.values()) reject(error);
      this.#waiting.clear();
    });
  }

  call<Name extends keyof S & string>(
    name: Name,
    ...[argument]: Parameters<S[Name]>
  ): Promise<Awaited<ReturnType<S[Name]>>> {
    const { exitCode, signalCode } = this.#process;
    if (exitCode !== null || signalCode !== null) throw new Error(`${this.#name} has ended`);
    const id = this.#calls++;
    return new Promise((resolve, reject) => {
      const late = (): void =>
        reject(new Error(`${this.#name} has not done ${name} in ${PATIENCE_MS / 60_000} minutes`));
      const timer = setTimeout(late, PATIENCE_MS);
      this.#waiting.set(id, { resolve, reject, timer });
      this.#process.send({ id, name, argument } satisfies Call);
    });
  }

  /** Lets the process end by itself, so that it writes its profile. */
  async end(): Promise<void> {
    const ended = once(this.#process, 'exit');
    this.#process.send(END);
    await ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const ended = once(this.#process, 'exit');
    this.#process.kill('SIGKILL');
    await ended;
  }

  #settle(reply: Reply): void {
    const call = this.#waiting.get(reply.id);
    this.#waiting.delete(reply.id);
    clearTimeout(call?.timer);
    if ('error' in reply) call?.reject(new Error(`${this.#name}: ${reply.error}`));
    else call?.resolve(reply.value as never);
  }
}

/**
 * In the child: answers the parent's calls until the parent ends it, or is gone. A signal to the whole group, as by
 * Ctrl-C, is the parent's to obey: the children then see that it is gone, and clean up after it.
 */
export function serve(services: Services): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
  process.on('message', (message: Call | typeof END) => {
    if (message === END) process.exit();
    const { id, name, argument } = message;
    const service = services[name] as ((argument: unknown) => unknown) | undefined;
    const answer = async (): Promise<unknown> => {
      if (!service) throw new Error(`there is no ${name}`);
      return service(argument);
    };
    void answer().then(
      (value) => process.send?.({ id, value } satisfies Reply),
      (error: unknown) =>
        process.send?.({ id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
    );
  });
  process.on('disconnect', () => {
    removeRun();
    process.exit();
  });
}
