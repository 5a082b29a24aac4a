import * as v from 'valibot';
import { KeyedQueue } from '../core/keyed-queue.js';
import type { HomeserverHttp } from '../http/homeserver-http.js';
import { path } from '../http/path.js';
import type { Session } from '../http/session.js';

/** Whether `a` comes before `b` in a room, or is it; undefined when that cannot be told. */
export type IsNotAfter = (a: string, b: string) => boolean | undefined;

/**
 * Sends read receipts that only move forward: public ones, and private ones that no other user sees.
 * @see https://spec.matrix.org/v1.16/client-server-api/#post_matrixclientv3roomsroomidreceiptreceipttypeeventid
 */
export class ReceiptSender {
  readonly #http: HomeserverHttp;
  readonly #queue = new KeyedQueue();
  /** The event read up to, by user, then by room and kind. */
  readonly #sent = new Map<string, Map<string, string>>();

  constructor(http: HomeserverHttp) {
    this.#http = http;
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
    const key = `${type} ${roomId}`;
    const send = async (): Promise<void> => {
      const sent = this.#sent.get(userId) ?? new Map<string, string>();
      const last = sent.get(key);
      // Where the order is unknown the homeserver decides: Synapse, too, ignores a receipt that would go back.
      if (last !== undefined && (last === eventId || isNotAfter(eventId, last))) return;
      await this.#http.request(v.unknown(), {
        operation: `sending a read receipt to ${roomId}`,
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
      sent.set(key, eventId);
      this.#sent.set(userId, sent);
    };
    await this.#queue.run(`${userId} ${key}`, send, signal, `sending a read receipt to ${roomId}`);
  }

  /** Forgets a user whose client has stopped. */
  forget(userId: string): void {
    this.#sent.delete(userId);
  }
}
