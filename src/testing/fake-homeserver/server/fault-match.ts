import { randomInt } from 'node:crypto';
import type { ReceivedRequest } from './received-request.js';

/** Which requests a fault befalls; what is left out matches everything. */
export interface FaultMatch {
  readonly method?: string;
  /** Template of the path, such as `/sync` or `/rooms/{roomId}/send/{eventType}/{txnId}`. */
  readonly endpoint?: string;
  /** Tested on the path without query. */
  readonly path?: RegExp;
  readonly userId?: string;
  /** How many of the matching requests it befalls. @default all */
  readonly times?: number;
  /** How likely it befalls each of them, from 0 to 1. @default 1 */
  readonly probability?: number;
  /** How many matching requests it lets pass first. @default 0 */
  readonly after?: number;
}

/** Decides request by request, and counts. */
export class FaultMatcher {
  readonly #match: FaultMatch;
  #passed = 0;
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
    if (this.#passed < after) {
      this.#passed++;
      return false;
    }
    if (this.#hits >= times || !happens(probability)) return false;
    this.#hits++;
    return true;
  }
}

function happens(probability: number): boolean {
  const steps = 1_000_000;
  return probability >= 1 || randomInt(steps) < probability * steps;
}
