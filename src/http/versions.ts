import * as v from 'valibot';
import type { HomeserverHttp } from './homeserver-http.js';

const versionsSchema = v.looseObject({
  versions: v.pipe(
    v.array(v.unknown()),
    v.transform((versions) => versions.filter((version) => typeof version === 'string')),
  ),
  unstable_features: v.fallback(v.optional(v.record(v.string(), v.unknown())), undefined),
});

/** What a homeserver speaks: versions of the specification, and features before they are part of it. */
export type Versions = v.InferOutput<typeof versionsSchema>;

const MAX_TIMEOUT_MS = 5_000;

/**
 * The cheapest request there is: whether a homeserver answers at all.
 * @param attempts - how often it is sent at most
 * @see https://spec.matrix.org/v1.16/client-server-api/#get_matrixclientversions
 */
export async function readVersions(
  http: HomeserverHttp,
  timeoutMs: number,
  signal: AbortSignal,
  attempts = 1,
): Promise<Versions> {
  return http.request(versionsSchema, {
    operation: 'looking for the homeserver',
    method: 'GET',
    path: '/_matrix/client/versions',
    lane: 'admin', // calls that hang must not keep this one waiting for a connection
    repeatable: true,
    retry: { attempts },
    timeoutMs: Math.min(MAX_TIMEOUT_MS, timeoutMs),
    signal,
  });
}
