import type { Clock } from '../../../core/clock.js';
import type { SyncResponse } from './sync-response.js';

/** For how long Synapse repeats the answer to an identical initial sync. */
const LIFETIME_MS = 120_000;

/** Answers identical initial syncs alike, which is how Synapse hands out stale ones. */
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
