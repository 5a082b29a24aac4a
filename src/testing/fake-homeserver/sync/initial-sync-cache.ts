import type { Clock } from '../../../core/clock.js';
import type { SyncResponse } from './sync-response.js';

/** How long Synapse caches the response to an initial sync, in milliseconds. */
const LIFETIME_MS = 120_000;

/** Caches responses to identical initial syncs, which makes them stale, as in Synapse. */
export class InitialSyncCache {
  readonly #clock: Clock;
  readonly #answers = new Map<string, { at: number; response: SyncResponse }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get(key: string, look: () => SyncResponse): SyncResponse {
    const now = this.#clock.now();
    const cached = this.#answers.get(key);
    if (cached && now - cached.at < LIFETIME_MS) return cached.response;
    const response = look();
    this.#answers.set(key, { at: now, response });
    return response;
  }
}
