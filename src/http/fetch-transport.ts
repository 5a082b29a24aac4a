import ky from 'ky';
import type { Fetch } from './fetch.js';
import { readText } from './read-text.js';
import type { Connections, Transport } from './transport.js';

/** Sends with a fetch function, through ky. Its connections are those of the fetch function, and not ours to close. */
export function fetchTransport(fetch: Fetch): Transport {
  // ky's own retries, timer and errors are off: ours know Matrix, the injected clock and what is safe to repeat.
  const client = ky.create({ retry: 0, timeout: false, throwHttpErrors: false, redirect: 'manual', fetch });
  const connections: Connections = {
    fetch,
    send: async ({ method, origin, path, headers, body, signal, maxBytes }) => {
      const sent = { method, headers: { ...headers }, signal, ...(body !== undefined && { body }) };
      const response = await client(origin + path, sent);
      return { status: response.status, headers: response.headers, text: await readText(response, maxBytes) };
    },
    close: async () => {},
  };
  return { open: () => connections };
}
