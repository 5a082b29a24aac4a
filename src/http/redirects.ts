import { MatrixClientManagerError } from '../core/errors.js';
import type { Fetch, HttpResponse, OpenTransport, TransportRequest } from '../core/ports/transport.js';

const MAX_REDIRECTS = 5;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/** @internal for tests */
export function isRedirect(status: number): boolean {
  return REDIRECTS.has(status);
}

/** The part of a response that describes a redirect. */
interface Redirect {
  readonly status: number;
  readonly headers: { get(name: string): string | null };
}

/**
 * Returns the target of a redirect. Only GET and HEAD requests are redirected, and only within one origin, so that no
 * other host receives a token or a password. Throws `INVALID_RESPONSE` for any other redirect.
 * @param hops - how many redirects were already followed
 * @internal for tests
 */
export function redirectTarget(redirect: Redirect, from: URL, method: string, hops: number): URL {
  return checkedTarget(redirect, from, method, (target) => {
    if (target.origin !== from.origin) return 'the other host would receive the access token';
    if (method !== 'GET' && method !== 'HEAD') return `a ${method} request is not sent twice`;
    return tooManyRedirects(hops);
  });
}

/**
 * Returns the target of a download's redirect, which may be another host, such as an object store. The caller must not
 * send the token there. Throws `INVALID_RESPONSE` for a redirect from https to http, among others.
 * @param visited - the URLs requested so far, `from` included
 * @internal for tests
 */
export function downloadTarget(redirect: Redirect, from: URL, visited: ReadonlySet<string>): URL {
  return checkedTarget(redirect, from, 'GET', (target) => {
    if (target.protocol !== 'http:' && target.protocol !== 'https:') return 'the target is not an HTTP URL';
    if (from.protocol === 'https:' && target.protocol !== 'https:') return 'it leads from https to http';
    if (target.username !== '' || target.password !== '') return 'the target URL contains a user name or password';
    return visited.has(target.href) ? 'it forms a loop' : tooManyRedirects(visited.size - 1);
  });
}

/** @param obstacleTo - returns why the target must not be requested, or undefined */
function checkedTarget(
  { status, headers }: Redirect,
  from: URL,
  method: string,
  obstacleTo: (target: URL) => string | undefined,
): URL {
  const location = headers.get('location');
  const target = location !== null && URL.canParse(location, from.href) ? new URL(location, from) : undefined;
  const obstacle = target ? obstacleTo(target) : 'it has no valid `location`';
  if (target && obstacle === undefined) return target;
  throw new MatrixClientManagerError(
    'INVALID_RESPONSE',
    `the homeserver redirects ${method} ${from.pathname} to ${target?.origin ?? 'an unknown address'}, ` +
      `which is not followed because ${obstacle}; set \`homeserverUrl\` to the final address`,
    { status },
  );
}

/** The reason not to follow one more redirect, or undefined. */
function tooManyRedirects(hops: number): string | undefined {
  return hops === MAX_REDIRECTS ? `it is the ${MAX_REDIRECTS + 1}th in a row` : undefined;
}

/** Sends over `connections`, and follows the redirects that {@link redirectTarget} allows. */
export async function sendFollowing(connections: OpenTransport, request: TransportRequest): Promise<HttpResponse> {
  let response = await connections.send(request);
  let { path } = request;
  for (let hops = 0; isRedirect(response.status); hops++) {
    const target = redirectTarget(response, new URL(request.origin + path), request.method, hops);
    path = target.pathname + target.search;
    response = await connections.send({ ...request, path });
  }
  return response;
}

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

/**
 * Fetches a file and follows redirects as {@link downloadTarget} allows. The access token is sent only to the origin of
 * `url`. After a redirect to another origin it is not sent again, not even back to the first one.
 * @param onHop - called before each request with its origin. `isForeign` is true after a redirect to another origin,
 * which means that the request carries no token
 */
export async function fetchDownload(
  fetch: Fetch,
  url: string,
  {
    headers,
    accessToken,
    signal,
  }: { headers: Readonly<Record<string, string>>; accessToken: string; signal: AbortSignal },
  onHop: (origin: string, isForeign: boolean) => void,
): Promise<Response> {
  let location = new URL(url);
  const { origin } = location;
  const visited = new Set([location.href]);
  for (let isForeign = false; ;) {
    onHop(location.origin, isForeign);
    const requestHeaders = { ...headers, ...(!isForeign && { authorization: `Bearer ${accessToken}` }) };
    const response = await fetch(location.href, { method: 'GET', redirect: 'manual', headers: requestHeaders, signal });
    if (!isRedirect(response.status)) return response;
    await response.body?.cancel();
    location = downloadTarget(response, location, visited);
    visited.add(location.href);
    isForeign ||= location.origin !== origin;
  }
}
