import type { IncomingMessage } from 'node:http';
import { Refusal } from './failures.js';

const localHost = /^(?:localhost|127\.0\.0\.1|\[::1\])(?::\d+)?$/i;

/**
 * Refuses requests that other web pages in the user's browser make: under a name of their own that leads to this machine
 * (DNS rebinding), or from another origin.
 */
export function assertSameOrigin(request: IncomingMessage): void {
  const { host = '', origin, 'sec-fetch-site': site } = request.headers;
  if (!localHost.test(host)) throw new Refusal(421, 'WRONG_HOST');
  if (origin !== undefined && origin !== `http://${host}`) throw new Refusal(403, 'WRONG_ORIGIN');
  // `none`: the user has typed the address. A link of another page may open this one, too.
  const isNavigation = request.headers['sec-fetch-mode'] === 'navigate' && request.method === 'GET';
  if ((site === 'cross-site' || site === 'same-site') && !isNavigation) throw new Refusal(403, 'WRONG_ORIGIN');
}
