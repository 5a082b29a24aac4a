import * as v from 'valibot';
import { orAborted } from '../core/abort.js';
import type { Context } from '../core/context.js';
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

/** How long a response is cached. A homeserver may be updated in the meantime. */
const LIFETIME_MS = 6 * 3_600_000;

/** Attempts before the request fails. Callers, such as a download, cannot continue without the response. */
const ATTEMPTS = 3;

/** The versions that the homeserver supports. Requested once for all clients, and again after some hours or a failure. */
export class ServerVersions {
  readonly #requestVersions: () => Promise<Versions>;
  readonly #clock: Context['clock'];
  #cached: { readonly versions: Promise<Versions>; readonly requestedAt: number } | undefined;

  /** @param signal - aborts the request, for all callers */
  constructor({ clock }: Pick<Context, 'clock'>, http: HomeserverHttp, signal: AbortSignal) {
    this.#requestVersions = () => readVersions(http, signal, ATTEMPTS);
    this.#clock = clock;
  }

  /** @param signal - ends the caller's wait, but not the request */
  get(signal: AbortSignal): Promise<Versions> {
    const now = this.#clock.now();
    if (!this.#cached || now - this.#cached.requestedAt >= LIFETIME_MS) {
      const cached = { versions: this.#requestVersions(), requestedAt: now };
      this.#cached = cached;
      cached.versions.catch(() => {
        if (this.#cached === cached) this.#cached = undefined;
      });
    }
    return orAborted(this.#cached.versions, signal, 'asking for the versions of the homeserver');
  }
}
