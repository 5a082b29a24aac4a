import type { Disposer, EncryptionFaultMatch } from '../../../src/testing/fake-homeserver/server/faults.js';
import { tellLie } from '../../../src/testing/fake-homeserver/server/encryption-lies.js';
import type { EncryptionLie } from '../../../src/testing/fake-homeserver/server/encryption-lies.js';
import type { HomeserverTarget } from '../../../src/testing/contracts/homeserver-contract.js';

type LieMatch = Pick<EncryptionFaultMatch, 'roomId'>;

/** Lies about encryption, as `FakeHomeserver.faults` tells them. */
export interface Lies {
  hideEncryption(match: LieMatch): Disposer;
  changeEncryption(match: LieMatch, content: Record<string, unknown>): Disposer;
}

/** What reached the homeserver as content: the messages of rooms, and the bytes of files. */
interface Sent {
  readonly type: string;
  readonly text: string;
}

/** A proxy before a homeserver, fake or real: it tells lies in its stead, and keeps what is sent. */
export class Liar implements Lies {
  readonly target: HomeserverTarget;
  readonly #sent: Sent[] = [];
  readonly #lies = new Set<EncryptionLie>();
  /** Called before a request is passed on. */
  onRequest: (method: string, path: string) => void | Promise<void> = () => {};
  /** Ends the polls under way, so that the next ones are lied to. */
  #polls = new AbortController();

  constructor(homeserver: HomeserverTarget) {
    const { baseUrl, serverName, admin } = homeserver;
    const through = homeserver.fetch ?? globalThis.fetch;
    this.target = { baseUrl, serverName, admin, fetch: (input, init) => this.#pass(through, new Request(input, init)) };
  }

  hideEncryption({ roomId }: LieMatch): Disposer {
    return this.#tell({ roomId, content: undefined });
  }

  changeEncryption({ roomId }: LieMatch, content: Record<string, unknown>): Disposer {
    return this.#tell({ roomId, content });
  }

  /** Everything readable that was sent: event types, and texts of events and files. */
  get sentTypes(): string[] {
    return this.#sent.map(({ type }) => type);
  }

  /** Whether a text was sent in the clear, in an event or as a file. */
  hasSent(text: string): boolean {
    return this.#sent.some((sent) => sent.text.includes(text));
  }

  #tell(lie: EncryptionLie): Disposer {
    this.#lies.add(lie);
    this.#endPolls();
    return () => {
      this.#lies.delete(lie);
      this.#endPolls();
    };
  }

  #endPolls(): void {
    this.#polls.abort();
    this.#polls = new AbortController();
  }

  async #pass(through: typeof globalThis.fetch, request: Request): Promise<Response> {
    const { method, signal, url, headers } = request;
    const { pathname } = new URL(url);
    await this.onRequest(method, pathname);
    const body = Buffer.from(await request.arrayBuffer());
    const type = /\/send\/([^/]+)\/[^/]+$/.exec(pathname)?.[1];
    if (method === 'PUT' && type !== undefined) this.#sent.push({ type, text: body.toString() });
    if (pathname.endsWith('/media/v3/upload')) this.#sent.push({ type: 'file', text: body.toString('latin1') });
    for (;;) {
      const polls = this.#polls.signal;
      const isPoll = pathname.endsWith('/sync');
      try {
        const response = await through(url, {
          method,
          headers,
          signal: isPoll ? AbortSignal.any([signal, polls]) : signal,
          ...(body.length > 0 && { body }),
        });
        let told = response;
        for (const lie of this.#lies) told = await tellLie(lie, pathname, told);
        return told;
      } catch (error) {
        if (!isPoll || !polls.aborted || signal.aborted) throw error;
      }
    }
  }
}
