import { MatrixClientManagerError } from '../core/errors.js';

const MAX_REDIRECTS = 5;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

export function isRedirect(status: number): boolean {
  return REDIRECTS.has(status);
}

/** The part of an answer that tells of a redirect. */
interface Redirect {
  readonly status: number;
  readonly headers: { get(name: string): string | null };
}

/**
 * Where a redirect leads. Redirects are followed inside one origin only, and only for what reads: a token, or the body
 * of a request that creates an account, never travels to another host. Elsewhere the redirect is an error.
 * @param hops - how many redirects were followed before
 */
export function redirectTarget(redirect: Redirect, from: URL, method: string, hops: number): URL {
  return checked(redirect, from, method, (target) => {
    if (target.origin !== from.origin) return 'it would take the token along';
    if (method !== 'GET' && method !== 'HEAD') return `a ${method} is not sent twice`;
    return tooMany(hops);
  });
}

/**
 * Where the redirect of a download leads: also to other hosts, such as an object store, which then get no token. Never
 * from https to http.
 * @param visited - the addresses so far, `from` included
 */
export function downloadTarget(redirect: Redirect, from: URL, visited: ReadonlySet<string>): URL {
  return checked(redirect, from, 'GET', (target) => {
    if (target.protocol !== 'http:' && target.protocol !== 'https:') return 'it is no http address';
    if (from.protocol === 'https:' && target.protocol !== 'https:') return 'it leads from https to http';
    if (target.username !== '' || target.password !== '') return 'its address holds a password';
    return visited.has(target.href) ? 'it leads in a circle' : tooMany(visited.size - 1);
  });
}

/** @param obstacleTo - why the target is not gone to, or undefined */
function checked(
  { status, headers }: Redirect,
  from: URL,
  method: string,
  obstacleTo: (target: URL) => string | undefined,
): URL {
  const location = headers.get('location');
  const target = location !== null && URL.canParse(location, from.href) ? new URL(location, from) : undefined;
  const obstacle = target ? obstacleTo(target) : 'it names no address';
  if (target && obstacle === undefined) return target;
  throw new MatrixClientManagerError(
    'INVALID_RESPONSE',
    `the homeserver redirects ${method} ${from.pathname} to ${target?.origin ?? 'nowhere'}, ` +
      `which is not followed because ${obstacle}; set \`homeserverUrl\` to the final address`,
    { status },
  );
}

function tooMany(hops: number): string | undefined {
  return hops === MAX_REDIRECTS ? `it is the ${MAX_REDIRECTS + 1}th in a row` : undefined;
}
