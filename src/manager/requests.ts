import type { ClientCallback } from '../callbacks/callback.js';
import type { MessageBody } from '../messages/content.js';

export interface StartClientOptions {
  readonly userId: string;
  /** Optional once the user is known, by `provisionUser` or an earlier start. */
  readonly accessToken?: string;
  /** Optional: the homeserver knows which device a token is for. */
  readonly deviceId?: string;
  /** Registered as by `addCallback`, before the first sync. */
  readonly callbacks?: readonly ClientCallback[];
}

export interface GetRoomMessagesOptions {
  readonly roomId: string;
  /** Who reads. Without it the admin account does, which sees only rooms that it has joined. */
  readonly userId?: string;
  /** How many messages at most, 1 to 1,000. @default 50 */
  readonly limit?: number;
  /** The `end` of the page before; absent: the newest messages. */
  readonly from?: string;
  /**
   * What belongs on the page: `message`, `reaction`, `redaction`, `membership`, `state` as callbacks know them, and
   * Matrix event types. Edits show in the message that they change. @default ['message']
   */
  readonly types?: readonly string[];
  readonly signal?: AbortSignal;
}

export interface SendMessageOptions extends MessageBody {
  readonly userId: string;
  readonly roomId: string;
  /** The event type. @default 'm.room.message' */
  readonly type?: string;
  /** Names this message: sent again with the same one, it is not posted twice. @default a random one */
  readonly txnId?: string;
  /**
   * Store the message before sending it, try until the homeserver takes or refuses it, and send it after a crash or a
   * shutdown with the next manager on the same storage. @default false
   */
  readonly durable?: boolean;
  readonly signal?: AbortSignal;
}

export interface ListSendsOptions {
  /** @default everybody's */
  readonly userId?: string;
  /** @default 'queued' */
  readonly state?: 'queued' | 'failed' | 'sent';
}

export interface SendTypingOptions {
  readonly userId: string;
  readonly roomId: string;
  readonly typing: boolean;
  /** How long others see it unless it is renewed, in milliseconds. @default 30_000 */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

export interface SendReadReceiptOptions {
  readonly userId: string;
  readonly roomId: string;
  /** The event read up to. */
  readonly eventId: string;
  /** Whether only the user's own devices see it. @default false */
  readonly private?: boolean;
  readonly signal?: AbortSignal;
}

/** What the manager is doing now. */
export interface ManagerStats {
  /** How many clients are in each state. */
  readonly clients: Readonly<Record<'starting' | 'live' | 'reconnecting' | 'stopping' | 'failed', number>>;
  /** How many calls hold a client. */
  readonly leases: number;
}

export interface Health {
  readonly status: 'ok' | 'degraded' | 'down';
  /** Why it is not `ok`. */
  readonly reasons: readonly string[];
}
