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
   * Which events the page contains: the kinds `message`, `reaction`, `redaction`, `membership`, `state`, as for
   * callbacks; event types; prefixes of event types (`m.call.*`). Edits are applied to the message that they change.
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
  from: unchecked(),
  types: v.optional(pageTypes),
  signal: v.optional(signal),
});
