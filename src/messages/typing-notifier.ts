import * as v from 'valibot';
import type { Clock } from '../core/clock.js';
import type { HomeserverHttp } from '../http/homeserver-http.js';
import { path } from '../http/path.js';
import type { Session } from '../http/session.js';

/** What part of its time a typing notification may have left for another one to be sent, so that it never lapses. */
const RENEW_IN_LAST = 1 / 4;

interface Standing {
  readonly typing: boolean;
  /** When the homeserver forgets it, in milliseconds since the Unix epoch. */
  readonly until: number;
  readonly renewFrom: number;
}

/**
 * Sends typing notifications, and none that would change nothing: applications call this for every key pressed.
 * @see https://spec.matrix.org/v1.16/client-server-api/#put_matrixclientv3roomsroomidtypinguserid
 */
export class TypingNotifier {
  readonly #http: HomeserverHttp;
  readonly #clock: Clock;
  /** What stands at the homeserver, by user and room. */
  readonly #standing = new Map<string, Map<string, Standing>>();

  constructor(http: HomeserverHttp, clock: Clock) {
    this.#http = http;
    this.#clock = clock;
  }

  async set(session: Session, roomId: string, typing: boolean, timeoutMs: number, signal?: AbortSignal): Promise<void> {
    const { userId } = session;
    const now = this.#clock.now();
    const rooms = this.#standing.get(userId) ?? new Map<string, Standing>();
    const before = rooms.get(roomId);
    if (before && before.typing === typing && now < before.renewFrom) return;
    if (!typing && before?.typing && now >= before.until) {
      rooms.delete(roomId); // it has lapsed by itself
      return;
    }
    this.#standing.set(userId, rooms);
    const until = typing ? now + timeoutMs : Infinity;
    const standing = { typing, until, renewFrom: typing ? until - timeoutMs * RENEW_IN_LAST : Infinity };
    rooms.set(roomId, standing); // before the answer, so that the calls that come meanwhile see it
    try {
      await this.#http.request(v.unknown(), {
        operation: `sending a typing notification to ${roomId}`,
        userId,
        roomId,
        method: 'PUT',
        path: path`/_matrix/client/v3/rooms/${roomId}/typing/${userId}`,
        body: typing ? { typing, timeout: timeoutMs } : { typing },
        session,
        repeatable: true,
        priority: 'typing',
        signal,
      });
    } catch (error) {
      if (rooms.get(roomId) === standing) rooms.delete(roomId); // what stands is unknown
      throw error;
    }
  }

  /** Whether the homeserver shows the user as typing in the room. */
  isTyping(userId: string, roomId: string): boolean {
    const standing = this.#standing.get(userId)?.get(roomId);
    return standing !== undefined && standing.typing && this.#clock.now() < standing.until;
  }

  /** Forgets what stands for a user whose client has stopped. */
  forget(userId: string): void {
    this.#standing.delete(userId);
  }
}
