import * as v from 'valibot';
import { KeyedQueue } from '../core/keyed-queue.js';
import { RecentMap } from '../core/recent-map.js';
import type { HomeserverHttp } from '../http/homeserver-http.js';
import { path } from '../http/path.js';
import type { Session } from '../http/session.js';

/** Of how many users, rooms and kinds it is known what was read. Forgotten, a receipt is sent once more. */
const MAX_SENT = 10_000;

/** Whether `a` comes before `b` in a room, or is it; undefined when that cannot be told. */
export type IsNotAfter = (a: string, b: string) => boolean | undefined;

/**
 * Sends read receipts that only move forward: public ones, and private ones that no other user sees.
 * @see https://spec.matrix.org/v1.16/client-server-api/#post_matrixclientv3roomsroomidreceiptreceipttypeeventid
 */
export class ReceiptSender {
  readonly #http: HomeserverHttp;
  readonly #queue = new KeyedQueue();
  /** The event read up to, by user, room and kind. */
  readonly #sent: RecentMap<string>;

  constructor(http: HomeserverHttp, maxSent = MAX_SENT) {
    this.#http = http;
    this.#sent = new RecentMap(maxSent);
  }

  /** @param isNotAfter - the order of the events that the user's client knows */
  async send(
    session: Session,
    receipt: { roomId: string; eventId: string; isPrivate: boolean; signal?: AbortSignal | undefined },
    isNotAfter: IsNotAfter,
  ): Promise<void> {
    const { userId } = session;
    const { roomId, eventId, isPrivate, signal } = receipt;
    const type = isPrivate ? 'm.read.private' : 'm.read';
    const key = `${type} ${roomId} ${userId}`;
    const operation = `sending a read receipt to ${roomId}`;
    const sendInTurn = async (): Promise<void> => {
      const last = this.#sent.get(key);
      // Where the order is unknown the homeserver decides: Synapse, too, ignores a receipt that would go back.
      if (last !== undefined && (last === eventId || isNotAfter(eventId, last))) return;
      await this.#http.request(v.unknown(), {
        operation,
        userId,
        roomId,
        method: 'POST',
        path: path`/_matrix/client/v3/rooms/${roomId}/receipt/${type}/${eventId}`,
        body: {},
        session,
        repeatable: true,
        priority: 'typing',
        signal,
      });
      this.#sent.set(key, eventId);
    };
    await this.#queue.run(key, sendInTurn, signal, operation);
  }
}
