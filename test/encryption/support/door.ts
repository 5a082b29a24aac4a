import type { HomeserverTarget } from '../../../src/testing/contracts/homeserver-contract.js';

/** A request on its way to a homeserver. */
export interface Passing {
  /** Such as `POST /_matrix/client/v3/keys/upload`. */
  readonly name: string;
  readonly query: URLSearchParams;
  /** The access token that it came with. */
  readonly token: string;
}

/** What is done about a request: answered here, or, with undefined, let through. */
type Guard = (request: Passing) => Response | undefined | Promise<Response | undefined>;

/** A door before a homeserver, fake or real: it shows what passes, and answers in its stead. */
export class Door {
  readonly target: HomeserverTarget;
  readonly #guards = new Set<Guard>();
  /** Ends the polls that are under way, so that a new guard sees them too. */
  #polls = new AbortController();

  constructor(homeserver: HomeserverTarget) {
    const { baseUrl, serverName, admin } = homeserver;
    const through = homeserver.fetch ?? globalThis.fetch;
    const fetch: typeof globalThis.fetch = async (input, init) => {
      const { pathname, searchParams: query } = new URL(input instanceof Request ? input.url : input);
      const method = init?.method ?? (input instanceof Request ? input.method : 'GET');
      const headers = new Headers(init?.headers ?? (input instanceof Request ? input.headers : {}));
      const token = (headers.get('authorization') ?? '').slice('Bearer '.length);
      for (;;) {
        for (const guard of this.#guards) {
          const answer = await guard({ name: `${method} ${pathname}`, query, token });
          init?.signal?.throwIfAborted();
          if (answer) return answer;
        }
        if (!pathname.endsWith('/v3/sync')) return through(input, init);
        const { signal } = this.#polls;
        try {
          return await through(input, {
            ...init,
            signal: AbortSignal.any([signal, ...(init?.signal ? [init.signal] : [])]),
          });
        } catch (error) {
          if (!signal.aborted || init?.signal?.aborted) throw error;
        }
      }
    };
    this.target = { baseUrl, serverName, admin, fetch };
  }

  /** Sets a guard; those set first are asked first. Polls under way pass it too. Returns what takes it away. */
  guard(guard: Guard): () => void {
    this.#guards.add(guard);
    this.#polls.abort();
    this.#polls = new AbortController();
    return () => this.#guards.delete(guard);
  }

  /** From now on the homeserver does not know the token; its device lives on. */
  killToken(dead: string): void {
    const body = { errcode: 'M_UNKNOWN_TOKEN', error: 'Access token has expired', soft_logout: true };
    this.guard(({ token }) => (token === dead ? Response.json(body, { status: 401 }) : undefined));
  }

  /** Resolves with the next request that `matches`, which waits there until `let` is called. */
  hold(matches: (request: Passing) => boolean): Promise<{ readonly let: () => void }> {
    return new Promise((resolve) => {
      const leave = this.guard((request) => {
        if (!matches(request)) return undefined;
        leave();
        return new Promise((pass) => resolve({ let: () => pass(undefined) }));
      });
    });
  }

  /** Resolves with the next request that `matches`, which is let through. */
  seen(matches: (request: Passing) => boolean): Promise<void> {
    return this.hold(matches).then(({ let: pass }) => pass());
  }
}
