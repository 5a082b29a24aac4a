import { MatrixClientManagerError } from '../core/errors.js';

/** The shape of `globalThis.fetch`. */
export type Fetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>;

/** The global fetch, looked up at each call, so that msw and other test doubles are seen. */
export const globalFetch: Fetch = (input, init) => globalThis.fetch(input, init);

const MAX_REDIRECTS = 5;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/**
 * Wraps `fetch` so that redirects are followed inside one origin only, and only for what reads: a token, or the body
 * of a request that creates an account, never travels to another host. Elsewhere the redirect is an error.
 */
export function sameOriginFetch(fetch: Fetch): Fetch {
  return async (input, init = {}) => {
    const first = input instanceof Request ? input : undefined;
    const method = (init.method ?? first?.method ?? 'GET').toUpperCase();
    const headers = init.headers ?? first?.headers;
    const signal = init.signal ?? first?.signal;
    let url = new URL(input instanceof Request ? input.url : input);
    let response = await fetch(input, { ...init, redirect: 'manual' });
    for (let hops = 0; REDIRECTS.has(response.status); hops++) {
      const target = targetOf(response, url);
      await response.body?.cancel();
      const obstacle = obstacleTo(target, url, method, hops);
      if (obstacle !== undefined || !target) {
        throw new MatrixClientManagerError(
          'INVALID_RESPONSE',
          `the homeserver redirects ${method} ${url.pathname} to ${target?.origin ?? 'nowhere'}, ` +
            `which is not followed because ${obstacle}; set \`homeserverUrl\` to the final address`,
          { status: response.status },
        );
      }
      url = target;
      const again = { ...init, method, ...(headers && { headers }), ...(signal && { signal }) };
      response = await fetch(url, { ...again, redirect: 'manual' });
    }
    return response;
  };
}

function targetOf(response: Response, from: URL): URL | undefined {
  const location = response.headers.get('location');
  return location !== null && URL.canParse(location, from.href) ? new URL(location, from) : undefined;
}

function obstacleTo(target: URL | undefined, from: URL, method: string, hops: number): string | undefined {
  if (!target) return 'it names no address';
  if (target.origin !== from.origin) return 'it would take the token along';
  if (method !== 'GET' && method !== 'HEAD') return `a ${method} is not sent twice`;
  return hops === MAX_REDIRECTS ? `it is the ${MAX_REDIRECTS + 1}th in a row` : undefined;
}
