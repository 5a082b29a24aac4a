import * as v from 'valibot';
import type { HomeserverHttp } from './homeserver-http.js';

const versionsSchema = v.looseObject({
  versions: v.pipe(
    v.array(v.unknown()),
    v.transform((versions) => versions.filter((version) => typeof version === 'string')),
  ),
  unstable_features: v.fallback(v.optional(v.record(v.string(), v.unknown())), undefined),
});

/** The versions of the specification and the unstable features that a homeserver supports. */
export type Versions = v.InferOutput<typeof versionsSchema>;

const MAX_TIMEOUT_MS = 5_000;

/**
 * Requests the supported versions. This is the cheapest request, so it also checks whether the homeserver responds.
 * @param attempts - how often the request is sent at most
 * @see https://spec.matrix.org/v1.16/client-server-api/#get_matrixclientversions
 */
export async function readVersions(http: HomeserverHttp, signal: AbortSignal, attempts = 1): Promise<Versions> {
  return http.request(versionsSchema, {
    operation: 'looking for the homeserver',
    method: 'GET',
    path: '/_matrix/client/versions',
    lane: 'admin', // so that hanging calls cannot occupy the connection that this request needs
    retry: { attempts },
    timeoutMs: Math.min(MAX_TIMEOUT_MS, http.requestTimeoutMs),
    signal,
  });
}
