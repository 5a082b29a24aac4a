import type { Clock } from '../../../core/clock.js';
import type { SyncResponse } from './sync-response.js';

/** How long Synapse caches the response to a sync, in milliseconds. */
const LIFETIME_MS = 120_000;

/** Caches the responses to identical syncs, which makes them stale, as in Synapse. */
export class SyncCache {
  readonly #clock: Clock;
  readonly #answers = new Map<string, { at: number; response: SyncResponse }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The cached response, or the one of `look`. Empty responses are not cached. */
  async get(key: string, look: () => SyncResponse | Promise<SyncResponse>): Promise<SyncResponse> {
    const cached = this.#answers.get(key);
    if (cached && this.#clock.now() - cached.at < LIFETIME_MS) return cached.response;
    const response = await look();
    if (!response.isEmpty) this.#answers.set(key, { at: this.#clock.now(), response });
    return response;
  }
}
