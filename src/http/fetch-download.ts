import type { Fetch } from '../core/ports/transport.js';
import { downloadTarget, isRedirect } from './redirects.js';

/**
 * Fetches a file, and follows redirects by the rule of {@link downloadTarget}. The token goes to the origin of `url`
 * only, and to no host once a redirect has led to another origin.
 * @param onHop - called before each request with the origin that it goes to, and whether a redirect has led to another
 * origin than that of `url` by then: what answers has not seen the token
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
  let at = new URL(url);
  const { origin } = at;
  const visited = new Set([at.href]);
  for (let isForeign = false; ;) {
    onHop(at.origin, isForeign);
    const sent = { ...headers, ...(!isForeign && { authorization: `Bearer ${accessToken}` }) };
    const response = await fetch(at.href, { method: 'GET', redirect: 'manual', headers: sent, signal });
    if (!isRedirect(response.status)) return response;
    await response.body?.cancel();
    at = downloadTarget(response, at, visited);
    visited.add(at.href);
    isForeign ||= at.origin !== origin;
  }
}
