import ky from 'ky';
import { checkedFetch } from './checked-fetch.js';
import { readResponse } from './read-text.js';
import type { OpenTransport, Fetch, Transport } from '../core/ports/transport.js';

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
