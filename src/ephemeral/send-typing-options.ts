import * as v from 'valibot';
import { flag, optionsOf, roomId, signal, userId, wholeNumber } from '../core/validation.js';

export interface SendTypingOptions {
  readonly userId: string;
  readonly roomId: string;
  /** Whether the user is typing now. */
  readonly typing: boolean;
  /** How long the notification is shown unless it is renewed, in milliseconds. @default 30_000 */
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
