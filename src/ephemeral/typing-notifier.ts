import * as v from 'valibot';
import type { Clock } from '../core/clock.js';
import { KeyedQueue } from '../core/keyed-queue.js';
import { RecentMap } from '../core/recent-map.js';
import type { HomeserverHttp } from '../http/homeserver-http.js';
import { path } from '../http/path.js';
import { defaultRetryPolicy, withRetries } from '../http/retry.js';
import type { Session } from '../http/session.js';

/** What part of its time a typing notification may have left for another one to be sent, so that it never lapses. */
const RENEW_IN_LAST = 1 / 4;
/** Of how many users and rooms it is known what stands. Forgotten, it is sent once more. */
const MAX_STANDING = 10_000;

interface Standing {
  readonly typing: boolean;
  /** When the homeserver forgets it, in milliseconds since the Unix epoch. */
  readonly until: number;
  readonly renewFrom: number;
  /** Fires when a newer state has taken its place. */
  readonly superseded: AbortController;
}

/**
 * Sends typing notifications, and none that would change nothing: applications call this for every key pressed. Of a
 * user and room one is sent at a time, and an older one is not tried again once there is a newer one: what the user did
 * last stands at the homeserver.
 * @see https://spec.matrix.org/v1.16/client-server-api/#put_matrixclientv3roomsroomidtypinguserid
 */
export class TypingNotifier {
  readonly #http: HomeserverHttp;
  readonly #clock: Clock;
  readonly #queue = new KeyedQueue();
  /** What stands at the homeserver, or soon will, by user and room. */
  readonly #standing: RecentMap<Standing>;

  constructor(http: HomeserverHttp, clock: Clock, maxStanding = MAX_STANDING) {
    this.#http = http;
    this.#clock = clock;
    this.#standing = new RecentMap(maxStanding);
  }

  /** Resolves when it stands, or something newer is to stand instead. */
  async set(session: Session, roomId: string, typing: boolean, timeoutMs: number, signal?: AbortSignal): Promise<void> {
    const { userId } = session;
    const key = keyOf(userId, roomId);
    const now = this.#clock.now();
    const before = this.#standing.get(key);
    if (before && before.typing === typing && now < before.renewFrom) return;
    if (!typing && before?.typing && now >= before.until) {
      this.#standing.delete(key); // it has lapsed by itself
      return;
    }
    const until = typing ? now + timeoutMs : Infinity;
    const renewFrom = typing ? until - timeoutMs * RENEW_IN_LAST : Infinity;
    const standing = { typing, until, renewFrom, superseded: new AbortController() };
    this.#standing.set(key, standing); // before the answer, so that the calls that come meanwhile see it
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
      repeatable: true,
      retry: { attempts: 1 },
      priority: 'typing',
      signal,
    } as const;
    const { signal: superseded } = standing.superseded;
    const waiting = signal ? AbortSignal.any([signal, superseded]) : superseded;
    try {
      const send = async (): Promise<void> => {
        // A try under way is waited for: aborted, it could still reach the homeserver after the newer one.
        const attempt = (): Promise<unknown> => this.#http.request(v.unknown(), request);
        await withRetries(attempt, defaultRetryPolicy, this.#clock, waiting, operation, () => !superseded.aborted);
      };
      await this.#queue.run(key, send, waiting, operation);
    } catch (error) {
      if (superseded.aborted && !signal?.aborted) return;
      if (this.#standing.get(key) === standing) this.#standing.delete(key); // what stands is unknown
      throw error;
    }
  }

  /** Whether the homeserver shows the user as typing in the room. */
  isTyping(userId: string, roomId: string): boolean {
    const standing = this.#standing.get(keyOf(userId, roomId));
    return standing !== undefined && standing.typing && this.#clock.now() < standing.until;
  }
}

/** A room id has no spaces. */
function keyOf(userId: string, roomId: string): string {
  return `${roomId} ${userId}`;
}
