import * as v from 'valibot';
import { nullAsAbsent, optionsOf, roomId, signal, unchecked, userId, wholeNumber } from '../core/call-options.js';

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
