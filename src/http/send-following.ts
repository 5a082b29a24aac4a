import { isRedirect, redirectTarget } from './redirects.js';
import type { HttpResponse, OpenTransport, TransportRequest } from '../core/ports/transport.js';

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
