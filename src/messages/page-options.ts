import * as v from 'valibot';
import { nullAsAbsent, optionsOf, roomId, signal, unchecked, userId, wholeNumber } from '../core/validation.js';
import { pageTypes } from './event-types.js';

export interface GetRoomMessagesOptions {
  readonly roomId: string;
  /** The user to read as. Without it, the account of the option `admin` reads; it sees only rooms that it has joined. */
  readonly userId?: string | undefined;
  /** How many messages at most, 1 to 1,000. @default 50 */
  readonly limit?: number | undefined;
  /** The `end` of the previous page; absent: start at the newest message. */
  readonly from?: string | undefined;
  /**
   * Which events the page contains. Kinds: `message` (every event that is not a state event, a reaction or a redaction),
   * `reaction`, `redaction`, `membership`, `state`. Event types (`m.room.message`), and prefixes of them (`m.call.*`). With
   * the kind `message`, an edit is applied to the message that it changes and is not listed; with an event type, the edits
   * of that type are listed, too.
   * @default ['message']
   */
  readonly types?: readonly string[] | undefined;
  readonly signal?: AbortSignal | undefined;
}

const MAX_PAGE = 1_000;

/** `null` counts as absent, because databases return it for missing values. */
export const getRoomMessagesSchema = optionsOf<GetRoomMessagesOptions>({
  roomId,
  userId: nullAsAbsent(userId),
  limit: nullAsAbsent(wholeNumber(1, MAX_PAGE)),
  from: nullAsAbsent(unchecked()),
  types: v.optional(pageTypes),
  signal: v.optional(signal),
});
