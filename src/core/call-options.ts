import * as v from 'valibot';
import { optionsOf, signal } from './validation.js';

/** The options of every call that may wait. */
export interface CallOptions {
  /** Ends the call immediately with `ABORTED`. */
  readonly signal?: AbortSignal | undefined;
}

export const callSchema = optionsOf<CallOptions>({ signal: v.optional(signal) });
