import type { Fetch } from '../core/ports/transport.js';
import { downloadTarget, isRedirect } from './redirects.js';

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
