import type { Fetch } from '../core/ports/transport.js';
import { isRedirect, redirectTarget } from './redirects.js';

/** The global fetch, looked up at each call, so that msw and other test doubles are seen. */
export const globalFetch: Fetch = (input, init) => globalThis.fetch(input, init);

/** Wraps `fetch` so that redirects are followed by the rule of {@link redirectTarget}. */
export function sameOriginFetch(fetch: Fetch): Fetch {
  return async (input, init = {}) => {
    const first = input instanceof Request ? input : undefined;
    const method = (init.method ?? first?.method ?? 'GET').toUpperCase();
    const headers = init.headers ?? first?.headers;
    const signal = init.signal ?? first?.signal;
    let url = new URL(input instanceof Request ? input.url : input);
    let response = await fetch(input, { ...init, redirect: 'manual' });
    for (let hops = 0; isRedirect(response.status); hops++) {
      await response.body?.cancel();
      url = redirectTarget(response, url, method, hops);
      const again = { ...init, method, ...(headers && { headers }), ...(signal && { signal }) };
      response = await fetch(url, { ...again, redirect: 'manual' });
    }
    return response;
  };
}
