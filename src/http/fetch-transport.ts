import ky from 'ky';
import { MatrixClientManagerError } from '../core/errors.js';
import type { Fetch, OpenTransport, Transport } from '../core/ports/transport.js';
import { isObject } from '../core/raw-event.js';
import { readResponse } from './read-text.js';

/** Looks up `globalThis.fetch` at each call, so that msw and other test doubles take effect. */
export const globalFetch: Fetch = (input, init) => globalThis.fetch(input, init);

/** Turns off ky's retries, timeout and HTTP errors: `HomeserverHttp` has its own, which use the injected clock. */
const kyOptions = { retry: 0, timeout: false, throwHttpErrors: false } as const;

/** Sends requests through ky with a fetch function. That function owns the connections, so `close()` does nothing. */
export function fetchTransport(applicationFetch: Fetch): Transport {
  const fetch = checkedFetch(applicationFetch);
  const connections: OpenTransport = {
    fetch,
    send: async ({ method, origin, path, headers, body, signal, maxBytes }) => {
      const url = origin + path;
      const sent = { method, headers, signal, redirect: 'manual', ...(body !== undefined && { body }) } as const;
      // Bypasses the Request object that ky builds: fetch would copy its body through streams.
      return readResponse(await ky(url, { ...kyOptions, method, fetch: () => fetch(url, sent) }), maxBytes);
    },
    close: async () => {},
  };
  return { open: () => connections };
}

/** Wraps the application's fetch function. Rejects with `INVALID_RESPONSE` if it resolves to anything but a Response. */
export function checkedFetch(fetch: Fetch): Fetch {
  return async (input, init) => {
    const response: unknown = await fetch(input, init);
    if (isResponse(response)) return response;
    throw new MatrixClientManagerError('INVALID_RESPONSE', 'the fetch function did not return a Response');
  };
}

function isResponse(response: unknown): response is Response {
  if (!isObject(response)) return false;
  const { status, headers, text, body } = response as { [Part in keyof Response]?: unknown };
  const hasHeaders = isObject(headers) && typeof headers.get === 'function';
  return Number.isInteger(status) && hasHeaders && typeof text === 'function' && body !== undefined;
}
