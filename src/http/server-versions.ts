import { orAborted } from '../core/abort.js';
import type { Context } from '../core/context.js';
import { readVersions } from './versions.js';
import type { Versions } from './versions.js';
import type { HomeserverHttp } from './homeserver-http.js';

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
