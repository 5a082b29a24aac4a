import * as v from 'valibot';
import { KeyedQueue } from '../core/keyed-queue.js';
import { RecentMap } from '../core/recent-map.js';
import { path } from '../http/path.js';
import { eventId, flag, optionsOf, roomId, signal, userId } from '../core/validation.js';
import type { HomeserverHttp } from '../http/homeserver-http.js';
import type { Session } from '../http/session.js';

export interface SendReadReceiptOptions {
  readonly userId: string;
  readonly roomId: string;
  /** The event up to which the user has read. */
  readonly eventId: string;
  /** Whether only the user's own devices see the receipt. @default false */
  readonly private?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

export const sendReadReceiptSchema = optionsOf<SendReadReceiptOptions>({
  userId,
  roomId,
  eventId,
  private: v.optional(flag),
  signal: v.optional(signal),
});

export interface MarkReadOptions extends SendReadReceiptOptions {
  /** Whether to move the fully read marker too, which only the user's own clients see. @default false */
  readonly fully?: boolean | undefined;
}

export const markReadSchema = optionsOf<MarkReadOptions>({
  userId,
  roomId,
  eventId,
  private: v.optional(flag),
  fully: v.optional(flag),
  signal: v.optional(signal),
});

/** Number of last receipts kept, by user, room and receipt type. Without the last one, a repeated receipt is sent again. */
const MAX_SENT = 10_000;

/** The timelines of the user's client, which know the order of a room's newest events. */
export interface EventTimelines {
  /** `isNotAfter`: whether event `a` equals `b` or precedes it in the room; undefined if unknown. */
  get(roomId: string): { isNotAfter(a: string, b: string): boolean | undefined } | undefined;
}

/** The access token to send with, and the user's client if it runs. */
export interface ReceiptCaller {
  readonly session: Session;
  readonly userSession?: { readonly timelines: EventTimelines };
}

/**
 * Sends public and private read receipts and fully read markers, which only move forward. Other users do not see a private
 * receipt, nor a marker.
 * @see https://spec.matrix.org/v1.16/client-server-api/#post_matrixclientv3roomsroomidreceiptreceipttypeeventid
 */
export class ReceiptSender {
  readonly #http: HomeserverHttp;
  readonly #queue = new KeyedQueue();
  /** Event of the last receipt, by receipt type, room and user. */
  readonly #lastReceipts: RecentMap<string>;

  constructor(http: HomeserverHttp, maxSent = MAX_SENT) {
    this.#http = http;
    this.#lastReceipts = new RecentMap(maxSent);
  }

  async send(
    caller: ReceiptCaller,
    { private: isPrivate = false, ...receipt }: Omit<SendReadReceiptOptions, 'userId' | 'signal'>,
    signal: AbortSignal,
  ): Promise<void> {
    await this.#move(caller, isPrivate ? 'm.read.private' : 'm.read', receipt, signal);
  }

  /** Sends a receipt, and with `fully` the marker after it. */
  async markRead(
    caller: ReceiptCaller,
    { fully = false, ...receipt }: Omit<MarkReadOptions, 'userId' | 'signal'>,
    signal: AbortSignal,
  ): Promise<void> {
    await this.send(caller, receipt, signal);
    if (fully) await this.#move(caller, 'm.fully_read', receipt, signal);
  }

  async #move(
    { session, userSession }: ReceiptCaller,
    type: 'm.read' | 'm.read.private' | 'm.fully_read',
    { roomId, eventId }: Pick<SendReadReceiptOptions, 'roomId' | 'eventId'>,
    signal: AbortSignal,
  ): Promise<void> {
    const { userId } = session;
    const key = `${type} ${roomId} ${userId}`;
    const operation = `sending a read receipt to ${roomId}`;
    const sendInTurn = async (): Promise<void> => {
      const last = this.#lastReceipts.get(key);
      // If the order is unknown, the receipt is sent: Synapse ignores one that would move backwards.
      if (last !== undefined && (last === eventId || userSession?.timelines.get(roomId)?.isNotAfter(eventId, last)))
        return;
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
      this.#lastReceipts.set(key, eventId);
    };
    await this.#queue.run(key, sendInTurn, signal, operation);
  }
}
