import * as v from 'valibot';
import { clientEventTypes } from '../core/client-event.js';
import { systemClock } from '../core/clock.js';
import type { Clock } from '../core/clock.js';
import { eventTypeList } from '../core/event-types.js';
import {
  checkOptions,
  clock,
  durationMs,
  listOf,
  optionsOf,
  roomId,
  signal,
  unchecked,
  wholeNumber,
} from '../core/validation.js';

/** The options of `pipeToSse()` and `sseResponse()`. */
export interface SseOptions {
  /**
   * The header `Last-Event-ID` of the browser's request, as it came. What the browser has missed since is sent first. An
   * unusable value is not an error: the browser gets the event `reset`.
   * @default none
   */
  readonly lastEventId?: string | readonly string[] | null | undefined;
  /** Which events to send, as for `manager.addCallback()`. @default all */
  readonly types?: readonly string[] | undefined;
  /** The rooms whose events to send. @default all rooms that the user has joined */
  readonly rooms?: readonly string[] | undefined;
  /**
   * How often a comment is sent, in milliseconds, so that proxies keep the connection. A browser that has read nothing from
   * one to the next is disconnected. @default 15_000
   */
  readonly heartbeatMs?: number | undefined;
  /** How long the browser is to wait before it connects again, in milliseconds. @default 3_000 */
  readonly retryMs?: number | undefined;
  /**
   * How much may wait for a slow browser, in bytes. Beyond it the browser is disconnected; it connects again and gets the
   * rest. @default 1_048_576
   */
  readonly maxBufferBytes?: number | undefined;
  /** How many missed events are sent at most. Rooms that have more are named in the event `reset`. @default 1_000 */
  readonly replayLimit?: number | undefined;
  /** Ends the stream. The browser connects again. @default none */
  readonly signal?: AbortSignal | undefined;
  /** The source of time. @default systemClock */
  readonly clock?: Clock | undefined;
}

const sseSchema = optionsOf<SseOptions>({
  lastEventId: unchecked(), // from the browser: what it is does not concern the application
  types: v.optional(eventTypeList(clientEventTypes)),
  rooms: v.optional(listOf(roomId)),
  heartbeatMs: v.optional(durationMs(1_000)),
  retryMs: v.optional(wholeNumber(0)),
  maxBufferBytes: v.optional(wholeNumber(1_024)),
  replayLimit: v.optional(wholeNumber(0)),
  signal: v.optional(signal),
  clock: v.optional(clock),
});

const defaults = {
  heartbeatMs: 15_000,
  retryMs: 3_000,
  maxBufferBytes: 1_048_576,
  replayLimit: 1_000,
  clock: systemClock,
} as const;

/** The options with their defaults. */
export type SseSettings = Omit<SseOptions, keyof typeof defaults> & {
  readonly [Name in keyof typeof defaults]: NonNullable<SseOptions[Name]>;
};

/** Checks the options of `call`, such as `pipeToSse()`. Throws `INVALID_OPTIONS`. */
export function readSseOptions(call: string, options: SseOptions): SseSettings {
  return { ...defaults, ...checkOptions(call, sseSchema, options) } as SseSettings;
}
