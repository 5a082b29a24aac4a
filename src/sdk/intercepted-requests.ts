import type { Filter, MatrixClient } from 'matrix-js-sdk';
import type { SyncQuery } from '../sync/sync-requests.js';

/**
 * Answers requests that matrix-js-sdk sends at its start and in its sync loop, so that a start sends no request besides
 * syncs: `/sync`, `/versions` (the same for all clients) and the push rules (which a sync returns too). The filter goes
 * into the query of each sync. The SDK's other requests are sent as usual.
 * @param isStarting - whether the client is waiting for its first sync
 */
export function interceptSdkRequests(
  client: MatrixClient,
  isStarting: () => boolean,
  sync: (query: SyncQuery) => Promise<unknown>,
  versions: () => Promise<unknown>,
): void {
  const { http } = client;
  const authedRequest = http.authedRequest.bind(http) as (...args: unknown[]) => Promise<unknown>;
  Object.assign(http, {
    authedRequest: (...args: unknown[]): Promise<unknown> => {
      const [method, endpoint, query] = args;
      if (method === 'GET' && endpoint === '/sync') return sync(query as SyncQuery);
      if (method === 'GET' && endpoint === '/_matrix/client/versions') return versions();
      if (method === 'GET' && endpoint === '/pushrules/' && isStarting()) return Promise.resolve({ global: {} });
      const [, , , body, options] = args;
      // The SDK never clears the timer of its own time limit. The library's time limit is in the SDK's fetch function.
      const { localTimeoutMs: _limit, ...rest } = (options ?? {}) as { readonly localTimeoutMs?: number };
      return authedRequest(method, endpoint, query, body, rest);
    },
  });
  Object.assign(client, {
    getOrCreateFilter: (_name: string, filter: Filter) => Promise.resolve(JSON.stringify(filter.getDefinition())),
  });
  // `disableVoip` does not disable MatrixRTC, which costs a request per start, and a session and a logger per room that
  // are never freed. The capabilities are fetched later, when the application asks for them.
  const { serverCapabilitiesService: capabilities } = client as unknown as { serverCapabilitiesService: object };
  for (const service of [client.matrixRTC, client.cachedRtcTransports, capabilities]) {
    Object.assign(service, { start: (): void => {} });
  }
}
