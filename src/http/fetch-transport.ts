import ky from 'ky';
import { checkedFetch } from './checked-fetch.js';
import { readAnswer } from './read-text.js';
import type { OpenTransport, Fetch, Transport } from '../core/ports/transport.js';

/** ky's own retries, timer and errors are off: ours know Matrix, the injected clock and what is safe to repeat. */
const plain = { retry: 0, timeout: false, throwHttpErrors: false } as const;

/** Sends with a fetch function, through ky. Its connections are those of the fetch function, and not ours to close. */
export function fetchTransport(given: Fetch): Transport {
  const fetch = checkedFetch(given);
  const connections: OpenTransport = {
    fetch,
    send: async ({ method, origin, path, headers, body, signal, maxBytes }) => {
      const url = origin + path;
      const sent = { method, headers, signal, redirect: 'manual', ...(body !== undefined && { body }) } as const;
      // Not the Request that ky makes of it: to send one with a body is to copy that, by streams.
      return readAnswer(await ky(url, { ...plain, method, fetch: () => fetch(url, sent) }), maxBytes);
    },
    close: async () => {},
  };
  return { open: () => connections };
}
