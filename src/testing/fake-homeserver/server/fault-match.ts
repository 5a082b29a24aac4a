import { randomInt } from 'node:crypto';
import type { ReceivedRequest } from './received-request.js';

/** Which requests a fault applies to. A condition that is left out matches all requests. */
export interface FaultMatch {
  readonly method?: string;
  /** Template of the path, such as `/sync` or `/rooms/{roomId}/send/{eventType}/{txnId}`. */
  readonly endpoint?: string;
  /** Matches the path without the query. */
  readonly path?: RegExp;
  readonly userId?: string;
  /** How many of the matching requests the fault applies to. @default all */
  readonly times?: number;
  /** Probability that the fault applies to a matching request, from 0 to 1. @default 1 */
  readonly probability?: number;
  /** How many matching requests pass before the fault applies. @default 0 */
  readonly after?: number;
}

/** Decides for each request whether the fault applies, and counts for `times` and `after`. */
export class FaultMatcher {
  readonly #match: FaultMatch;
  #skipped = 0;
  #hits = 0;

  constructor(match: FaultMatch) {
    this.#match = match;
  }

  matches(request: ReceivedRequest): boolean {
    const { method, endpoint, path, userId, times = Infinity, probability = 1, after = 0 } = this.#match;
    if (method !== undefined && method.toUpperCase() !== request.method) return false;
    if (endpoint !== undefined && endpoint !== request.endpoint) return false;
    if (path !== undefined && request.path.search(path) === -1) return false;
    if (userId !== undefined && userId !== request.userId) return false;
    if (this.#skipped < after) {
      this.#skipped++;
      return false;
    }
    if (this.#hits >= times || !isHit(probability)) return false;
    this.#hits++;
    return true;
  }
}

function isHit(probability: number): boolean {
  const steps = 1_000_000;
  return probability >= 1 || randomInt(steps) < probability * steps;
}
