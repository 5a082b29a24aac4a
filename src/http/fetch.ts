import { MatrixClientManagerError } from '../core/errors.js';

/** The shape of `globalThis.fetch`. */
export type Fetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>;

/** The global fetch, looked up at each call, so that msw and other test doubles are seen. */
export const globalFetch: Fetch = (input, init) => globalThis.fetch(input, init);

const MAX_REDIRECTS = 5;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/**
 * Wraps `fetch` so that redirects are followed inside one origin only: a token, or the body of a request that
 * creates an account, never travels to another host. Elsewhere the redirect is an error that names the target.
 */
export function sameOriginFetch(fetch: Fetch): Fetch {
  return async (input, init = {}) => {
    let url = new URL(input instanceof Request ? input.url : input);
    let response = await fetch(input, { ...init, redirect: 'manual' });
    for (let hops = 0; REDIRECTS.has(response.status); hops++) {
      const location = response.headers.get('location');
      const target = location === null ? undefined : new URL(location, url);
      await response.body?.cancel();
      const method = (init.method ?? (input instanceof Request ? input.method : 'GET')).toUpperCase();
      const repeatable = method === 'GET' || method === 'HEAD';
      if (!target || target.origin !== url.origin || !repeatable || hops === MAX_REDIRECTS) {
        throw new MatrixClientManagerError(
          'INVALID_RESPONSE',
          `the homeserver redirects ${method} ${url.pathname} to ${target ? target.origin : 'nowhere'}, ` +
            'which is not followed because it would take the token along; set `homeserverUrl` to the final address',
          { status: response.status },
        );
      }
      url = target;
      const headers = input instanceof Request ? input.headers : init.headers;
      response = await fetch(url, { ...init, method, ...(headers && { headers }), redirect: 'manual' });
    }
    return response;
  };
}
