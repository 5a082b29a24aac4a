import { ConnectionDropped } from './connection-dropped.js';

const MAX_REDIRECTS = 20;
const SECRET_HEADERS = ['authorization', 'cookie', 'proxy-authorization'];

interface Target {
  /** Whether the fake homeserver serves the URL. */
  owns(url: URL): boolean;
  answer(request: Request): Promise<Response>;
}

/**
 * A `fetch` that calls the fake homeserver directly. Redirects, aborts and broken connections are as with the
 * global fetch. It rejects requests to other hosts, so that no test reaches the network by mistake.
 */
export function inProcessFetch(target: Target): typeof globalThis.fetch {
  return async (input, init) => {
    let request = new Request(input, init);
    const size = sizeOf(init?.body);
    if (size !== undefined) request.headers.set('content-length', `${size}`);
    for (let redirects = 0; ; redirects++) {
      const response = await send(target, request);
      const location = response.headers.get('location');
      if (location === null || response.status < 300 || response.status > 399 || request.redirect === 'manual') {
        return response;
      }
      if (request.redirect === 'error' || redirects >= MAX_REDIRECTS) throw new TypeError('fetch failed');
      request = await follow(request, response.status, new URL(location, request.url));
    }
  };
}

/** The size of a body that is known before it is sent; undefined for a stream. */
function sizeOf(body: RequestInit['body']): number | undefined {
  if (typeof body === 'string') return Buffer.byteLength(body);
  if (body instanceof ArrayBuffer || ArrayBuffer.isView(body)) return body.byteLength;
  return body instanceof Blob ? body.size : undefined;
}

async function send(target: Target, request: Request): Promise<Response> {
  const url = new URL(request.url);
  if (!target.owns(url)) {
    throw new Error(`FakeHomeserver.fetch serves only its own base URL, got ${url.origin}${url.pathname}`);
  }
  const { signal } = request;
  signal.throwIfAborted();
  // cloned, because a redirected request is sent again with its body
  const answer = target.answer(request.clone());
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    answer
      .then(resolve, (error: unknown) => reject(error instanceof ConnectionDropped ? error.toFetchError() : error))
      .finally(() => signal.removeEventListener('abort', onAbort));
  });
}

async function follow(request: Request, status: number, url: URL): Promise<Request> {
  const becomesGet = status === 303 || ((status === 301 || status === 302) && request.method === 'POST');
  const headers = new Headers(request.headers);
  if (url.origin !== new URL(request.url).origin) for (const name of SECRET_HEADERS) headers.delete(name);
  const { signal, redirect } = request;
  if (becomesGet || request.method === 'GET') return new Request(url, { headers, signal, redirect });
  return new Request(url, { method: request.method, body: await request.arrayBuffer(), headers, signal, redirect });
}
