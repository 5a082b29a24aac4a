import { MatrixClientManagerError } from '../core/errors.js';

const MAX_REDIRECTS = 5;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

export function isRedirect(status: number): boolean {
  return REDIRECTS.has(status);
}

/**
 * Where a redirect leads. Redirects are followed inside one origin only, and only for what reads: a token, or the body
 * of a request that creates an account, never travels to another host. Elsewhere the redirect is an error.
 * @param hops - how many redirects were followed before
 */
export function redirectTarget(
  { status, headers }: { readonly status: number; readonly headers: { get(name: string): string | null } },
  from: URL,
  method: string,
  hops: number,
): URL {
  const location = headers.get('location');
  const target = location !== null && URL.canParse(location, from.href) ? new URL(location, from) : undefined;
  const obstacle = obstacleTo(target, from, method, hops);
  if (target && obstacle === undefined) return target;
  throw new MatrixClientManagerError(
    'INVALID_RESPONSE',
    `the homeserver redirects ${method} ${from.pathname} to ${target?.origin ?? 'nowhere'}, ` +
      `which is not followed because ${obstacle}; set \`homeserverUrl\` to the final address`,
    { status },
  );
}

function obstacleTo(target: URL | undefined, from: URL, method: string, hops: number): string | undefined {
  if (!target) return 'it names no address';
  if (target.origin !== from.origin) return 'it would take the token along';
  if (method !== 'GET' && method !== 'HEAD') return `a ${method} is not sent twice`;
  return hops === MAX_REDIRECTS ? `it is the ${MAX_REDIRECTS + 1}th in a row` : undefined;
}
