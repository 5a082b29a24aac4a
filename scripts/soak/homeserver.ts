import type { ChildProcess } from 'node:child_process';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Fault, SoakAsk, SoakReply } from './protocol.js';

interface Connection {
  readonly homeserverUrl: string;
  readonly admin: { readonly userId: string; readonly password: string };
}

/** The fake homeserver in its own process, as the soak sees it. */
export class SoakHomeserver implements AsyncDisposable {
  readonly homeserverUrl: string;
  readonly admin: Connection['admin'];
  readonly #child: ChildProcess;
  readonly #asked = new Map<number, (answer: unknown) => void>();
  #lastId = 0;

  private constructor(child: ChildProcess, { homeserverUrl, admin }: Connection) {
    this.homeserverUrl = homeserverUrl;
    this.admin = admin;
    this.#child = child;
    child.on('message', ({ id, answer }: SoakReply) => {
      this.#asked.get(id)?.(answer);
      this.#asked.delete(id);
    });
  }

  static async start(): Promise<SoakHomeserver> {
    const script = fileURLToPath(new URL('homeserver-process.ts', import.meta.url));
    const child = fork(script, { execArgv: ['--no-warnings', '--import', 'tsx'] });
    const [{ answer }] = (await once(child, 'message')) as [SoakReply];
    return new SoakHomeserver(child, answer as Connection);
  }

  /** Makes a room for each list of members, the first of which creates it. */
  makeRooms(members: readonly (readonly string[])[]): Promise<string[]> {
    return this.#ask({ do: 'rooms', members }) as Promise<string[]>;
  }

  /** Posts messages of that text to every room, all at once. */
  async fill(messagesPerRoom: number, text: string): Promise<void> {
    await this.#ask({ do: 'fill', messagesPerRoom, text });
  }

  async fault(fault: Fault, forMs: number): Promise<void> {
    await this.#ask({ do: 'fault', fault, forMs });
  }

  /** Ends every fault. */
  async calm(): Promise<void> {
    await this.#ask({ do: 'calm' });
  }

  /** Requests being answered now, and received in all. */
  count(): Promise<{ inFlight: number; requests: number }> {
    return this.#ask({ do: 'count' }) as Promise<{ inFlight: number; requests: number }>;
  }

  /** Writes every message into `file`; resolves with their number. */
  writeHistory(file: string): Promise<number> {
    return this.#ask({ do: 'history', file }) as Promise<number>;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill();
    await exited;
  }

  #ask(ask: SoakAsk): Promise<unknown> {
    const id = ++this.#lastId;
    return new Promise((resolve) => {
      this.#asked.set(id, resolve);
      this.#child.send({ id, ask });
    });
  }
}
