import { isRedirect, redirectTarget } from './redirects.js';
import type { HttpResponse, OpenTransport, TransportRequest } from '../core/ports/transport.js';

/** Sends over `connections`, and once more for each redirect that {@link redirectTarget} lets pass. */
export async function sendFollowing(connections: OpenTransport, request: TransportRequest): Promise<HttpResponse> {
  let answer = await connections.send(request);
  let { path } = request;
  for (let hops = 0; isRedirect(answer.status); hops++) {
    const target = redirectTarget(answer, new URL(request.origin + path), request.method, hops);
    path = target.pathname + target.search;
    answer = await connections.send({ ...request, path });
  }
  return answer;
}
