import * as v from 'valibot';
import { isManagerError } from '../core/errors.js';
import { KeyedQueue } from '../core/keyed-queue.js';
import type { EventContent } from '../core/raw-event.js';
import { noTelemetry } from '../core/telemetry.js';
import type { Telemetry } from '../core/telemetry.js';
import type { HomeserverHttp } from '../http/homeserver-http.js';
import { path } from '../http/path.js';
import type { Session } from '../http/session.js';

export interface OutgoingMessage {
  readonly userId: string;
  readonly roomId: string;
  /** Event type. */
  readonly type: string;
  readonly content: EventContent;
  readonly txnId: string;
  readonly signal?: AbortSignal | undefined;
}

const sentSchema = v.object({ event_id: v.string() });

/** Sends events: for each user and room in the order of the calls. Queues of other rooms are independent. */
export class MessageSender {
  readonly #http: HomeserverHttp;
  readonly #telemetry: Telemetry;
  readonly #roomQueues = new KeyedQueue();
  #queued = 0;

  constructor(http: HomeserverHttp, telemetry: Telemetry = noTelemetry) {
    this.#http = http;
    this.#telemetry = telemetry;
  }

  /** How many messages are queued or being sent. */
  get queued(): number {
    return this.#queued;
  }

  /**
   * Runs `send` after the user's earlier sends to the room. The place in the queue is taken synchronously. When
   * `signal` is aborted, this rejects at once, and a `send` that has not started never runs.
   */
  async inOrder<T>(userId: string, roomId: string, send: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    this.#queued++;
    try {
      return await this.#telemetry.send(userId, roomId, () =>
        this.#roomQueues.run(`${userId} ${roomId}`, send, signal, `sending to ${roomId}`),
      );
    } finally {
      this.#queued--;
    }
  }

  /**
   * Sends one event. Repeated with the same `txnId` and device, the request returns the event id of the first one.
   * @see https://spec.matrix.org/v1.16/client-server-api/#put_matrixclientv3roomsroomidsendeventtypetxnid
   */
  async send(session: Session, outgoing: OutgoingMessage): Promise<{ eventId: string }> {
    const { roomId, type, content, txnId, signal } = outgoing;
    const sent = await this.#http.request(sentSchema, {
      operation: `sending to ${roomId}`,
      userId: session.userId,
      roomId,
      method: 'PUT',
      path: path`/_matrix/client/v3/rooms/${roomId}/send/${type}/${txnId}`,
      body: content,
      session,
      repeatable: true,
      priority: 'send',
      signal,
    });
    return { eventId: sent.event_id };
  }

  /** Asks the homeserver whether the room is encrypted. */
  async isEncrypted(session: Session, roomId: string, signal?: AbortSignal): Promise<boolean> {
    try {
      await this.#http.request(v.unknown(), {
        operation: `sending to ${roomId}`,
        userId: session.userId,
        roomId,
        method: 'GET',
        path: path`/_matrix/client/v3/rooms/${roomId}/state/m.room.encryption/`,
        session,
        repeatable: true,
        signal,
      });
      return true;
    } catch (error) {
      if (isManagerError(error, 'NOT_FOUND')) return false;
      throw error;
    }
  }

  /** Resolves when all queued messages have been sent or have failed. */
  settled(): Promise<void> {
    return this.#roomQueues.settled();
  }
}
