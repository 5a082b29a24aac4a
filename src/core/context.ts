import type { Clock } from './clock.js';
import type { Diagnostics } from './diagnostics.js';
import type { Logger } from './logger.js';

/** What most parts of a manager need. Made once per manager, and frozen. */
export interface Context {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly diagnostics: Diagnostics;
  readonly limits: Limits;
}

/** Limits that several parts of a manager apply. */
export interface Limits {
  /** Time for one attempt of a request, and for one call of the storage, in milliseconds. */
  readonly requestTimeoutMs: number;
  /** Deadline of a sync without a position, in milliseconds. */
  readonly startTimeoutMs: number;
  /** Maximum size of a response body, in bytes. */
  readonly maxResponseBytes: number;
}
