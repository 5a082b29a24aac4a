import type { Filter, MatrixClient } from 'matrix-js-sdk';
import type { SyncQuery } from '../sync/sync-requests.js';

export interface InterceptedRequests {
  readonly sync: (query: SyncQuery) => Promise<unknown>;
  readonly versions: () => Promise<unknown>;
  /** Whether the client is on its way to its first sync. */
  readonly isStarting: () => boolean;
}

/**
 * Answers what matrix-js-sdk asks for at its start and in its loop, so that a start costs no request but syncs:
 * `/sync` itself, `/versions`, which is the same for all clients, and the push rules, which come by sync as well. The
 * filter goes into the query of each sync. What else the SDK asks for, or is told to ask for, goes its usual way.
 */
export function interceptSdkRequests(client: MatrixClient, { sync, versions, isStarting }: InterceptedRequests): void {
  const { http } = client;
  const authedRequest = http.authedRequest.bind(http) as (...args: unknown[]) => Promise<unknown>;
  Object.assign(http, {
    authedRequest: (...args: unknown[]): Promise<unknown> => {
      const [method, endpoint, query] = args;
      if (method === 'GET' && endpoint === '/sync') return sync(query as SyncQuery);
      if (method === 'GET' && endpoint === '/_matrix/client/versions') return versions();
      if (method === 'GET' && endpoint === '/pushrules/' && isStarting()) return Promise.resolve({ global: {} });
      const [, , , body, options] = args;
      // Its own time limit is a timer that nothing clears; ours is in the fetch that it gets.
      const { localTimeoutMs: _limit, ...rest } = (options ?? {}) as { readonly localTimeoutMs?: number };
      return authedRequest(method, endpoint, query, body, rest);
    },
  });
  Object.assign(client, {
    getOrCreateFilter: (_name: string, filter: Filter) => Promise.resolve(JSON.stringify(filter.getDefinition())),
  });
  // MatrixRTC, which `disableVoip` leaves on, costs a request per start, and a session and a logger that is never
  // freed per room, and a chat backend makes no calls; capabilities are asked for when somebody wants to know them.
  const off = { start: (): void => {} };
  Object.assign(client.matrixRTC, off);
  Object.assign(client.cachedRtcTransports, off);
  Object.assign((client as unknown as { serverCapabilitiesService: object }).serverCapabilitiesService, off);
}
