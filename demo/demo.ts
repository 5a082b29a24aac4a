import { MatrixClientManager } from 'matrix-client-manager';
import { openHomeserver } from '../examples/homeserver.js';
import { furnish } from './seed/furnish.js';
import { provisionPeople } from './seed/people.js';
import type { People } from './seed/people.js';
import { DemoServer } from './server/demo-server.js';

export interface DemoOptions {
  /** Of this machine; 0: any that is free. */
  readonly port: number;
  /** Names the homeserver, as in examples/homeserver.ts. @default one in this process */
  readonly env?: NodeJS.ProcessEnv;
  /** Number of old messages in the room with a long history. @default 150 on the embedded homeserver, else 0 */
  readonly history?: number;
  /** Ends the start. */
  readonly signal?: AbortSignal;
  /** How long the accounts' deactivation may take at the end, in milliseconds. @default 4_000 */
  readonly deactivationTimeoutMs?: number;
}

/** A homeserver, a manager with two users, rooms with messages, and the server of the page. */
export class Demo implements AsyncDisposable {
  readonly manager: MatrixClientManager;
  readonly people: People;
  readonly server: DemoServer;
  /** The homeserver, in words. */
  readonly description: string;
  readonly #closers: readonly Closer[];

  private constructor(manager: MatrixClientManager, people: People, server: DemoServer, opened: Opened) {
    this.manager = manager;
    this.people = people;
    this.server = server;
    this.description = opened.description;
    this.#closers = opened.closers;
  }

  static async start(options: DemoOptions): Promise<Demo> {
    const { port, env = {}, history, signal, deactivationTimeoutMs = 4_000 } = options;
    const closers: Closer[] = [];
    try {
      const homeserver = await openHomeserver(env);
      closers.push(async () => homeserver[Symbol.asyncDispose]());
      const manager = new MatrixClientManager({ homeserverUrl: homeserver.url, admin: homeserver.admin });
      closers.push(() => manager.shutdown());
      const people = await provisionPeople(manager, homeserver, signal);
      if (!homeserver.embedded) closers.push(() => deactivate(manager, people, deactivationTimeoutMs));
      await furnish({ manager, people, history: history ?? (homeserver.embedded ? 150 : 0), signal });
      const { description } = homeserver;
      const server = new DemoServer({ manager, people, description });
      closers.push(() => server.close());
      await server.listen(port);
      return new Demo(manager, people, server, { description, closers });
    } catch (error) {
      await closeAll(closers);
      throw error;
    }
  }

  get url(): string {
    return this.server.url;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return closeAll(this.#closers);
  }
}

type Closer = () => Promise<void>;

interface Opened {
  readonly description: string;
  readonly closers: readonly Closer[];
}

/** Closes the parts, the last one first. A part that fails does not keep the others open. */
async function closeAll(closers: readonly Closer[]): Promise<void> {
  for (const close of closers.toReversed()) {
    try {
      await close();
    } catch (error) {
      process.stderr.write(`At the end of the demo: ${String(error)}\n`);
    }
  }
}

/** Tries each account. A homeserver that does not answer must not keep the program from its end. */
async function deactivate(manager: MatrixClientManager, people: People, timeoutMs: number): Promise<void> {
  const signal = AbortSignal.timeout(timeoutMs);
  const deactivations = [...people.values()].map(async ({ userId }) => {
    try {
      await manager.admin.deactivateUser(userId, { signal });
    } catch (error) {
      process.stderr.write(`The account ${userId} was not deactivated: ${String(error)}\n`);
    }
  });
  await Promise.all(deactivations);
}
