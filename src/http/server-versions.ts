import { orAborted } from '../core/abort.js';
import type { Clock } from '../core/clock.js';
import { readVersions } from './versions.js';
import type { Versions } from './versions.js';
import type { HomeserverHttp } from './homeserver-http.js';

/** For how long an answer holds: a homeserver is updated from time to time. */
const LIFETIME_MS = 6 * 3_600_000;

/** What waits for the answer, such as a download, can do nothing without it. */
const ATTEMPTS = 3;

/** What the homeserver says that it speaks: asked once for all clients, and again after some hours or a failure. */
export class ServerVersions {
  readonly #ask: () => Promise<Versions>;
  readonly #clock: Clock;
  #answer: { readonly versions: Promise<Versions>; readonly askedAt: number } | undefined;

  /** @param signal - ends the request, for all who wait for it */
  constructor(http: HomeserverHttp, clock: Clock, requestTimeoutMs: number, signal: AbortSignal) {
    this.#ask = () => readVersions(http, requestTimeoutMs, signal, ATTEMPTS);
    this.#clock = clock;
  }

  /** @param signal - ends the wait for the answer, not the request */
  get(signal: AbortSignal): Promise<Versions> {
    const now = this.#clock.now();
    if (!this.#answer || now - this.#answer.askedAt >= LIFETIME_MS) {
      const answer = { versions: this.#ask(), askedAt: now };
      this.#answer = answer;
      answer.versions.catch(() => {
        if (this.#answer === answer) this.#answer = undefined;
      });
    }
    return orAborted(this.#answer.versions, signal, 'asking what the homeserver speaks');
  }
}
