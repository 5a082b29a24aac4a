import * as v from 'valibot';
import { eventId, flag, optionsOf, roomId, signal, userId } from '../core/validation.js';

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
