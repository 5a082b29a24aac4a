import { MatrixClientManagerError } from '../core/errors.js';

const MAX_REDIRECTS = 5;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

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
