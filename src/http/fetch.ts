import type { Fetch } from '../core/ports/transport.js';
import { isRedirect, redirectTarget } from './redirects.js';

/** Looks up `globalThis.fetch` at each call, so that msw and other test doubles take effect. */
export const globalFetch: Fetch = (input, init) => globalThis.fetch(input, init);

/** Wraps `fetch` so that it follows only the redirects that {@link redirectTarget} allows. */
export function sameOriginFetch(fetch: Fetch): Fetch {
  return async (input, init = {}) => {
    const request = input instanceof Request ? input : undefined;
    const method = (init.method ?? request?.method ?? 'GET').toUpperCase();
    const headers = init.headers ?? request?.headers;
    const signal = init.signal ?? request?.signal;
    let url = new URL(input instanceof Request ? input.url : input);
    let response = await fetch(input, { ...init, redirect: 'manual' });
    for (let hops = 0; isRedirect(response.status); hops++) {
      await response.body?.cancel();
      url = redirectTarget(response, url, method, hops);
      const repeated = { ...init, method, ...(headers && { headers }), ...(signal && { signal }) };
      response = await fetch(url, { ...repeated, redirect: 'manual' });
    }
    return response;
  };
}
