import * as v from 'valibot';
import { assertCallback } from '../callbacks/callback.js';
import type { CallbackOptions, ClientCallback } from '../callbacks/callback.js';
import type { StopReason } from '../clients/client-state.js';
import {
  eventId,
  flag,
  functionOf,
  name,
  nullAsAbsent,
  object,
  oneOf,
  optionsOf,
  roomId,
  signal,
  text,
  unchecked,
  userId,
  wholeNumber,
} from '../core/call-options.js';
import type { EventContent } from '../core/raw-event.js';
import type { AuthUploadDeviceSigningKeys } from '../encryption/identity-options.js';
import type { OutgoingFile } from '../messages/attachments.js';
import type { MessageBody } from '../messages/content.js';
import { fileName, mimeType } from '../messages/file-labels.js';
import type { ProvisionedUser } from '../provisioning/provision-user-options.js';
import type { Gauges } from '../telemetry/gauges.js';
import type { TelemetryStats } from '../telemetry/telemetry-stats.js';

export interface StartClientOptions {
  readonly userId: string;
  /** Optional once the user is known, by `provisionUser` or an earlier start. */
  readonly accessToken?: string | undefined;
  /** Optional: the homeserver knows which device a token is for. */
  readonly deviceId?: string | undefined;
  /** Registered as by `addCallback`, before the first sync. */
  readonly callbacks?: readonly ClientCallback[] | undefined;
  /** Ends the wait at once. A start that has begun goes on, one that waits for its turn does so only for others. */
  readonly signal?: AbortSignal | undefined;
}

/** What `provisionUser` resolves with can be passed on: of that, `created` and `refreshToken` are ignored. */
export const startClientSchema = optionsOf<StartClientOptions & Partial<ProvisionedUser>>({
  userId,
  accessToken: v.optional(name),
  deviceId: v.optional(name),
  callbacks: v.optional(
    v.pipe(
      v.array(unchecked<ClientCallback>(), 'a list of functions'),
      v.check((callbacks) => {
        for (const callback of callbacks) assertCallback(callback);
        return true;
      }),
    ),
  ),
  signal: v.optional(signal),
  created: unchecked(),
  refreshToken: unchecked(),
});

export interface ConnectOptions extends CallbackOptions {
  readonly userId: string;
  /** Gets the user's events from before the first sync until the connection is closed. @default none */
  readonly callback?: ClientCallback | undefined;
  /** Ends the wait at once; once connected, its `close()` is what ends it. */
  readonly signal?: AbortSignal | undefined;
}

export const connectSchema = optionsOf<ConnectOptions>({
  userId,
  callback: v.optional(functionOf<ClientCallback>()),
  types: unchecked(),
  rooms: unchecked(),
  backlog: unchecked(),
  signal: v.optional(signal),
});

export interface GetRoomMessagesOptions {
  readonly roomId: string;
  /** Who reads. Without it the admin account does, which sees only rooms that it has joined. */
  readonly userId?: string | undefined;
  /** How many messages at most, 1 to 1,000. @default 50 */
  readonly limit?: number | undefined;
  /** The `end` of the page before; absent: the newest messages. */
  readonly from?: string | undefined;
  /**
   * What belongs on the page: `message`, `reaction`, `redaction`, `membership`, `state` as callbacks know them, event
   * types, and prefixes of those (`m.call.*`). Edits show in the message that they change. @default ['message']
   */
  readonly types?: readonly string[] | undefined;
  readonly signal?: AbortSignal | undefined;
}

const MAX_PAGE = 1_000;

/** `null` counts as absent, as databases have it. */
export const getRoomMessagesSchema = optionsOf<GetRoomMessagesOptions>({
  roomId,
  userId: nullAsAbsent(userId),
  limit: nullAsAbsent(wholeNumber(1, MAX_PAGE)),
  from: unchecked(),
  types: unchecked(),
  signal: v.optional(signal),
});

export interface SendMessageOptions extends MessageBody {
  readonly userId: string;
  readonly roomId: string;
  /** The event type. @default 'm.room.message' */
  readonly type?: string | undefined;
  /** Names this message: sent again with the same one, it is not posted twice. @default a random one */
  readonly txnId?: string | undefined;
  /**
   * Store the message before sending it, try until the homeserver takes or refuses it, and send it after a crash or a
   * shutdown with the next manager on the same storage. @default false
   */
  readonly durable?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

export const sendMessageSchema = optionsOf<SendMessageOptions>({
  userId,
  roomId,
  text: v.optional(text),
  html: v.optional(text),
  content: unchecked(),
  type: v.optional(name),
  txnId: v.optional(name),
  durable: v.optional(flag),
  signal: v.optional(signal),
});

export interface ForgetUserOptions {
  /**
   * Whether to log the session out, which removes its device at the homeserver. It takes a provisioner; a logout that
   * fails is told to the logger. @default true
   */
  readonly logOut?: boolean | undefined;
}

export const forgetUserSchema = optionsOf<ForgetUserOptions>({
  logOut: v.optional(flag),
});

export interface ResetIdentityOptions {
  /** Passes the homeserver's user-interactive authentication. @default with a password that the admin sets */
  readonly authenticate?: AuthUploadDeviceSigningKeys | undefined;
  /** Ends the wait at once; what has begun at the homeserver goes on. */
  readonly signal?: AbortSignal | undefined;
}

export const resetIdentitySchema = optionsOf<ResetIdentityOptions>({
  authenticate: v.optional(functionOf<AuthUploadDeviceSigningKeys>()),
  signal: v.optional(signal),
});

export interface SendFileOptions {
  readonly userId: string;
  readonly roomId: string;
  readonly file: OutgoingFile;
  /** The kind of message. @default 'm.image', 'm.video' or 'm.audio' by `mimeType`, else 'm.file' */
  readonly msgtype?: string | undefined;
  /** Names this message: sent again with the same one, it is not posted twice; the file is uploaded again. @default a random one */
  readonly txnId?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export const sendFileSchema = optionsOf<SendFileOptions>({
  userId,
  roomId,
  file: optionsOf<OutgoingFile>({
    body: unchecked(),
    name: fileName,
    mimeType: v.optional(mimeType),
    size: v.optional(wholeNumber(0, Number.MAX_SAFE_INTEGER)),
    info: v.optional(object<EventContent>()),
  }),
  msgtype: v.optional(name),
  txnId: v.optional(name),
  signal: v.optional(signal),
});

export interface DownloadFileOptions {
  /** Who downloads. */
  readonly userId: string;
  /** For errors only. */
  readonly roomId?: string | undefined;
  /** The content of the message that the file came with. */
  readonly content: EventContent;
  /** Whether to download its thumbnail instead, as `content.info` names it. @default false */
  readonly thumbnail?: boolean | undefined;
  /** A larger file is `FILE_TOO_LARGE`. @default the option maxFileBytes */
  readonly maxBytes?: number | undefined;
  /** Ends the download, also while the stream is read. */
  readonly signal?: AbortSignal | undefined;
}

export const downloadFileSchema = optionsOf<DownloadFileOptions>({
  userId,
  roomId: v.optional(roomId),
  content: object<EventContent>(),
  thumbnail: v.optional(flag),
  maxBytes: v.optional(wholeNumber(1, Number.MAX_SAFE_INTEGER)),
  signal: v.optional(signal),
});

export interface ListSendsOptions {
  /** Only the sends of this user. @default everybody's */
  readonly userId?: string | undefined;
  /** Which sends: those under way or waiting, those refused or given up, or those that the homeserver has. @default 'queued' */
  readonly state?: 'queued' | 'failed' | 'sent' | undefined;
}

export const listSendsSchema = optionsOf<ListSendsOptions>({
  userId: v.optional(userId),
  state: v.optional(oneOf('queued', 'failed', 'sent')),
});

export interface SendTypingOptions {
  readonly userId: string;
  readonly roomId: string;
  /** Whether the user types now. */
  readonly typing: boolean;
  /** How long others see it unless it is renewed, in milliseconds. @default 30_000 */
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

export interface SendReadReceiptOptions {
  readonly userId: string;
  readonly roomId: string;
  /** The event read up to. */
  readonly eventId: string;
  /** Whether only the user's own devices see it. @default false */
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

/** What the manager is doing now, and what it has done: the numbers that OpenTelemetry gets. */
export interface ManagerStats extends Gauges, TelemetryStats {
  readonly clients: Readonly<Record<'starting' | 'live' | 'reconnecting' | 'stopping' | 'failed', number>>;
  readonly stops: Readonly<Record<StopReason, number>>;
}

export interface Health {
  readonly status: 'ok' | 'degraded' | 'down';
  /** Why it is not `ok`. */
  readonly reasons: readonly string[];
}
