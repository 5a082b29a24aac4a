import * as v from 'valibot';
import { KeyedQueue } from '../core/keyed-queue.js';
import { RecentMap } from '../core/recent-map.js';
import { path } from '../http/path.js';
import { defaultRetryPolicy, withRetries } from '../http/retry.js';
import { flag, optionsOf, roomId, signal, userId, wholeNumber } from '../core/validation.js';
import type { HomeserverContext } from '../http/homeserver-context.js';
import type { Session } from '../http/session.js';

export interface SendTypingOptions {
  readonly userId: string;
  readonly roomId: string;
  /** Whether the user is typing now. */
  readonly typing: boolean;
  /** How long the notification is shown unless it is renewed, in milliseconds. @default 30_000 */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

export const sendTypingSchema = optionsOf<SendTypingOptions>({
  userId,
  roomId,
  typing: flag,
  timeoutMs: v.optional(wholeNumber(1, 600_000)),
  signal: v.optional(signal),
});

/** A notification is renewed only in the last quarter of its time-out, so that it neither expires nor is sent too often. */
const RENEW_IN_LAST = 1 / 4;
/** Number of states kept, by user and room. Without a state, an unchanged notification is sent again. */
const MAX_STATES = 10_000;

interface TypingState {
  readonly typing: boolean;
  /** When the homeserver ends the notification, in milliseconds since the Unix epoch. */
  readonly expiresAt: number;
  readonly renewAt: number;
  /** Aborted when a newer state replaces this one. */
  readonly superseded: AbortController;
}

/**
 * Sends a typing notification only if it changes or renews the state, so applications may call it at every key press.
 * For each user and room, requests run one at a time, and a failed request is not repeated once there is a newer state.
 * The last state is therefore the one that the homeserver keeps.
 * @see https://spec.matrix.org/v1.16/client-server-api/#put_matrixclientv3roomsroomidtypinguserid
 */
export class TypingNotifier {
  readonly #context: Pick<HomeserverContext, 'clock' | 'logger' | 'http'>;
  readonly #shutdown: AbortSignal;
  readonly #queue = new KeyedQueue();
  /** State at the homeserver, or about to be sent, by user and room. */
  readonly #states: RecentMap<TypingState>;

  /** @param shutdown - ends the requests of {@link end} */
  constructor(
    context: Pick<HomeserverContext, 'clock' | 'logger' | 'http'>,
    shutdown: AbortSignal,
    maxStates = MAX_STATES,
  ) {
    this.#context = context;
    this.#shutdown = shutdown;
    this.#states = new RecentMap(maxStates);
  }

  /**
   * Resolves when the homeserver has accepted the state or a newer one replaces it; immediately if nothing has changed and
   * the notification need not be renewed.
   */
  async set(
    session: Session,
    { roomId, typing, timeoutMs = 30_000 }: Omit<SendTypingOptions, 'userId' | 'signal'>,
    signal: AbortSignal,
  ): Promise<void> {
    const { http, clock } = this.#context;
    const { userId } = session;
    const key = keyOf(userId, roomId);
    const now = clock.now();
    const before = this.#states.get(key);
    if (before && before.typing === typing && now < before.renewAt) return;
    if (!typing && before?.typing && now >= before.expiresAt) {
      this.#states.delete(key); // the homeserver has ended the notification
      return;
    }
    const expiresAt = typing ? now + timeoutMs : Infinity;
    const renewAt = typing ? expiresAt - timeoutMs * RENEW_IN_LAST : Infinity;
    const state = { typing, expiresAt, renewAt, superseded: new AbortController() };
    this.#states.set(key, state); // before the response, so that concurrent calls see the new state
    before?.superseded.abort();
    const operation = `sending a typing notification to ${roomId}`;
    const request = {
      operation,
      userId,
      roomId,
      method: 'PUT',
      path: path`/_matrix/client/v3/rooms/${roomId}/typing/${userId}`,
      body: typing ? { typing, timeout: timeoutMs } : { typing },
      session,
      retry: { attempts: 1 },
      priority: 'typing',
      signal,
    } as const;
    const { signal: superseded } = state.superseded;
    const waiting = AbortSignal.any([signal, superseded]);
    try {
      // A running attempt is not aborted: the homeserver could receive the aborted request after the newer one.
      const attempt = (): Promise<unknown> => http.request(v.unknown(), request);
      const send = async (): Promise<void> => {
        const repetition = { mayRepeat: () => !superseded.aborted };
        await withRetries(attempt, defaultRetryPolicy, clock, waiting, operation, repetition);
      };
      await this.#queue.run(key, send, waiting, operation);
    } catch (error) {
      if (superseded.aborted && !signal.aborted) return;
      if (this.#states.get(key) === state) this.#states.delete(key); // the state at the homeserver is unknown
      throw error;
    }
  }

  /**
   * Ends the user's typing notification after a message, if there is one. A failure is only logged, because the message
   * was sent before.
   */
  async end(session: Session, roomId: string): Promise<void> {
    const { clock, logger } = this.#context;
    const { userId } = session;
    const state = this.#states.get(keyOf(userId, roomId));
    if (!state?.typing || clock.now() >= state.expiresAt) return;
    await this.set(session, { roomId, typing: false }, this.#shutdown).catch((error: unknown) => {
      logger.debug({ userId, roomId, err: error }, 'ending a typing notification failed');
    });
  }
}

/** A room id contains no spaces, so the key is unambiguous. */
function keyOf(userId: string, roomId: string): string {
  return `${roomId} ${userId}`;
}
