import * as v from 'valibot';
import { withDeadline } from '../core/abort.js';
import type { CallOptions } from '../core/call-options.js';
import type { Clock } from '../core/clock.js';
import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import { mapConcurrently } from '../core/map-concurrently.js';
import type { UnreadCount } from '../core/unread-count.js';
import { listOf, userId } from '../core/validation.js';
import type { HomeserverHttp } from '../http/homeserver-http.js';
import { requestUnreadCounts } from '../sync/unread-request.js';
import type { CallerSession, UserCalls } from './user-calls.js';

/** What a user has not read, or why that could not be found out. */
export type UnreadTotals =
  | (UnreadCount & {
      /** Number of joined rooms with unread events. */
      readonly rooms: number;
      readonly error?: undefined;
    })
  | { readonly error: MatrixClientManagerError };

export type UnreadCountsOptions = CallOptions;

export const unreadUsers = v.pipe(
  listOf(userId),
  v.transform((users) => [...new Set(users)]),
);

/** How many users are asked for at the same time. */
const CONCURRENCY = 8;
/** Time in which a user's totals are there, retries included: one user whose sync hangs must not hold the others up. */
const USER_TIMEOUT_MS = 60_000;

/** Reads users' unread counts: from their clients, or from the homeserver. Starts no client, and keeps none from resting. */
export class UnreadReader {
  readonly #calls: UserCalls;
  readonly #clock: Clock;
  readonly #request: { readonly http: HomeserverHttp; readonly timeoutMs: number };

  /** @param request.timeoutMs - time of one attempt of a request */
  constructor(calls: UserCalls, clock: Clock, request: { readonly http: HomeserverHttp; readonly timeoutMs: number }) {
    this.#calls = calls;
    this.#clock = clock;
    this.#request = request;
  }

  /** The users' totals, in the order of the users. Rejects only when `signal` is aborted, or the manager is closed. */
  async totals(userIds: readonly string[], signal?: AbortSignal): Promise<Map<string, UnreadTotals>> {
    const totals = await mapConcurrently(userIds, CONCURRENCY, async (user): Promise<UnreadTotals> => {
      try {
        return await this.#totalsOf(user, signal);
      } catch (error) {
        if (signal?.aborted || !isManagerError(error) || error.code === 'MANAGER_CLOSED') throw error;
        return { error };
      }
    });
    return new Map(userIds.map((user, index) => [user, totals[index] as UnreadTotals]));
  }

  #totalsOf(userId: string, signal = new AbortController().signal): Promise<UnreadTotals> {
    const message = `the unread counts of ${userId} did not come within ${USER_TIMEOUT_MS} ms`;
    return withDeadline(
      { clock: this.#clock, timeoutMs: USER_TIMEOUT_MS, signal },
      () => new MatrixClientManagerError('TIMEOUT', message, { userId }),
      (deadline) => this.#calls.readAs(userId, async (...call) => totalOf(await this.of(...call)), deadline, false),
    );
  }

  /** The unread rooms of a user. Rooms of which nothing is unread may be absent. */
  async of({ session, userSession }: CallerSession, signal: AbortSignal): Promise<ReadonlyMap<string, UnreadCount>> {
    const engine = userSession?.engine;
    if (engine?.isCurrent && engine.unread.isComplete) return new Map(engine.unread.entries());
    const counts = await requestUnreadCounts({ ...this.#request, session }, signal);
    if (!engine?.isCurrent) return counts;
    engine.unread.complete(counts);
    return new Map(engine.unread.entries());
  }
}

function totalOf(counts: ReadonlyMap<string, UnreadCount>): UnreadTotals {
  let [unread, highlights, rooms] = [0, 0, 0];
  for (const count of counts.values()) {
    unread += count.unread;
    highlights += count.highlights;
    if (count.unread > 0) rooms++;
  }
  return { unread, highlights, rooms };
}
