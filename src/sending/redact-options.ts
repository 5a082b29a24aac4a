import * as v from 'valibot';
import { eventId, flag, name, optionsOf, roomId, signal, text, userId } from '../core/validation.js';
import type { SendMessageOptions } from './send-message-options.js';

export interface RedactOptions extends Pick<SendMessageOptions, 'userId' | 'roomId' | 'txnId' | 'durable' | 'signal'> {
  /** The event whose content is removed: a message, a reaction, a state event. */
  readonly eventId: string;
  /** Why, for other users. @default none */
  readonly reason?: string | undefined;
}

const redactOptionsSchema = optionsOf<RedactOptions>({
  userId,
  roomId,
  eventId,
  reason: v.optional(text),
  txnId: v.optional(name),
  durable: v.optional(flag),
  signal: v.optional(signal),
});

/** Reads the options of redact() as a message. @see https://spec.matrix.org/v1.16/client-server-api/#redactions */
export const redactSchema = v.pipe(
  redactOptionsSchema,
  v.transform(({ eventId: redacts, reason, ...options }): SendMessageOptions => {
    const content = { redacts, ...(reason !== undefined && { reason }) };
    return { ...options, type: 'm.room.redaction', content };
  }),
);
