import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

/** An event of a timeline, as a client has it. */
export interface SeenEvent {
  readonly eventId: string;
  readonly roomId: string;
  readonly sender: string;
  readonly type: string;
  /** The decrypted content; missing with `failure`. */
  readonly content?: Readonly<Record<string, unknown>>;
  /** Whether the event was decrypted. */
  readonly encrypted?: boolean;
  /** What the client says about the device that sent it, if it does. */
  readonly trust?: string;
  /** Why the client could not decrypt the event when it came. */
  readonly failure?: string;
}

interface Line {
  readonly id?: number;
  readonly result?: unknown;
  readonly error?: string;
  readonly event?: SeenEvent;
}

interface Waiting {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** A Matrix client in a process of its own, which takes commands and reports events, one per line. */
export class ClientProcess {
  readonly events: SeenEvent[] = [];
  readonly #child: ChildProcess;
  readonly #closed: Promise<unknown>;
  readonly #answers = new Map<number, Waiting>();
  readonly #checks = new Set<() => void>();
  #log = '';
  #lastId = 0;

  constructor([program, ...args]: readonly [string, ...string[]]) {
    this.#child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#log = (this.#log + text).slice(-4_000);
    });
    // A command to a process that has ended fails by the end of the process.
    this.#child.stdin?.on('error', () => {});
    const lines = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream });
    lines.on('line', (line) => {
      if (line.startsWith('{')) this.#read(JSON.parse(line) as Line);
    });
    this.#closed = Promise.race([once(this.#child, 'close'), once(this.#child, 'error')]).then(() => this.#fail());
  }

  call<T>(command: string, args: object = {}): Promise<T> {
    const id = ++this.#lastId;
    const answer = new Promise<unknown>((resolve, reject) => this.#answers.set(id, { resolve, reject }));
    this.#child.stdin?.write(`${JSON.stringify({ id, command, ...args })}\n`);
    return answer as Promise<T>;
  }

  /** Resolves with the first event that `matches`, past or to come. The test's own time limit is the bound. */
  first(matches: (event: SeenEvent) => boolean): Promise<SeenEvent> {
    return new Promise((resolve) => {
      const check = (): void => {
        const found = this.events.find(matches);
        if (!found) return;
        this.#checks.delete(check);
        resolve(found);
      };
      this.#checks.add(check);
      check();
    });
  }

  /** Ends it as a crash would. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#closed;
  }

  #read({ id = 0, result, error, event }: Line): void {
    if (event) {
      this.events.push(event);
      for (const check of this.#checks) check();
      return;
    }
    const answer = this.#answers.get(id);
    this.#answers.delete(id);
    if (error === undefined) answer?.resolve(result);
    else answer?.reject(new Error(`${error}\n${this.#log}`));
  }

  #fail(): void {
    for (const { reject } of this.#answers.values()) reject(new Error(`the client has ended:\n${this.#log}`));
    this.#answers.clear();
  }
}
