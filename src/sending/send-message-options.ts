import * as v from 'valibot';
import { flag, name, optionsOf, roomId, signal, text, unchecked, userId } from '../core/validation.js';
import type { MessageBody } from './content.js';
import { relationSchemas } from './message-relations.js';
import type { MessageRelations } from './message-relations.js';

export interface SendMessageOptions extends MessageBody, MessageRelations {
  readonly userId: string;
  readonly roomId: string;
  /** The event type. @default 'm.room.message' */
  readonly type?: string | undefined;
  /** Transaction id. A message sent again with the same `txnId` is not posted twice. @default a random one */
  readonly txnId?: string | undefined;
  /**
   * Store the message before it is sent, and repeat the attempt until the homeserver accepts or refuses it. After a
   * crash or shutdown the next manager on the same storage sends it. @default false
   */
  readonly durable?: boolean | undefined;
  /**
   * Ends the call. A durable message that was not sent yet is deleted; the homeserver may still receive an attempt that is
   * under way.
   */
  readonly signal?: AbortSignal | undefined;
}

export const sendMessageSchema = optionsOf<SendMessageOptions>({
  userId,
  roomId,
  text: v.optional(text),
  html: v.optional(text),
  content: unchecked(),
  ...relationSchemas,
  type: v.optional(name),
  txnId: v.optional(name),
  durable: v.optional(flag),
  signal: v.optional(signal),
});
