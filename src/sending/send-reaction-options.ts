import * as v from 'valibot';
import { eventId, flag, name, optionsOf, roomId, signal, userId } from '../core/validation.js';
import type { SendMessageOptions } from './send-message-options.js';

export interface SendReactionOptions extends Pick<
  SendMessageOptions,
  'userId' | 'roomId' | 'txnId' | 'durable' | 'signal'
> {
  /** The event that is reacted to. */
  readonly eventId: string;
  /** The reaction: an emoji, or another short text. */
  readonly key: string;
}

const sendReactionOptionsSchema = optionsOf<SendReactionOptions>({
  userId,
  roomId,
  eventId,
  key: name,
  txnId: v.optional(name),
  durable: v.optional(flag),
  signal: v.optional(signal),
});

/** Reads the options of sendReaction() as a message. @see https://spec.matrix.org/v1.16/client-server-api/#mreaction */
export const sendReactionSchema = v.pipe(
  sendReactionOptionsSchema,
  v.transform(({ eventId: event_id, key, ...options }): SendMessageOptions => {
    const relation = { rel_type: 'm.annotation', event_id, key };
    return { ...options, type: 'm.reaction', content: { 'm.relates_to': relation } };
  }),
);
