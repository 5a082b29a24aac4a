import { randomInt } from 'node:crypto';

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

/** What a fault can see of a request. */
export interface FaultTarget {
  readonly method: string;
  readonly endpoint: string | undefined;
  readonly path: string;
  readonly userId: string | undefined;
  readonly query: URLSearchParams;
  readonly signal: AbortSignal;
}

/** Decides request by request, and counts. */
export class FaultMatcher {
  readonly #match: FaultMatch;
  #passed = 0;
  #hits = 0;

  constructor(match: FaultMatch) {
    this.#match = match;
  }

  matches(target: FaultTarget): boolean {
    const { method, endpoint, path, userId, times = Infinity, probability = 1, after = 0 } = this.#match;
    if (method !== undefined && method.toUpperCase() !== target.method) return false;
    if (endpoint !== undefined && endpoint !== target.endpoint) return false;
    if (path !== undefined && target.path.search(path) === -1) return false;
    if (userId !== undefined && userId !== target.userId) return false;
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
