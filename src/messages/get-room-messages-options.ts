import * as v from 'valibot';
import { invalidOptions } from '../core/errors.js';
import {
  eventId,
  flag,
  nullAsAbsent,
  optionsOf,
  roomId,
  signal,
  unchecked,
  userId,
  wholeNumber,
} from '../core/validation.js';
import { pageTypes } from './event-types.js';

export interface GetRoomMessagesOptions {
  readonly roomId: string;
  /** The user to read as. Without it, the account of the option `admin` reads; it sees only rooms that it has joined. */
  readonly userId?: string | undefined;
  /** How many messages at most, 1 to 1,000. @default 50 */
  readonly limit?: number | undefined;
  /** The `end` of the previous page, with the other options of that page. @default where the reading begins */
  readonly from?: string | undefined;
  /**
   * Id of an event: read forwards what came after it. The page is **oldest first**, and `end` leads to newer messages. Edits
   * are listed, too, because the edited message may be older than the page.
   */
  readonly after?: string | undefined;
  /**
   * Id of an event: read it with those right before and after it, newest first. `end` leads to older messages, as `from`
   * without `around`; `after` reads the newer ones.
   */
  readonly around?: string | undefined;
  /** Id of the first event of a thread: read only the thread, newest first, up to and including that event. */
  readonly threadId?: string | undefined;
  /**
   * Which events the page contains. Kinds: `message` (every event that is not a state event, a reaction or a redaction),
   * `reaction`, `redaction`, `membership`, `state`. Event types (`m.room.message`), and prefixes of them (`m.call.*`). With
   * the kind `message`, an edit is applied to the message that it changes and is not listed; with an event type, the edits
   * of that type are listed, too.
   * @default ['message']
   */
  readonly types?: readonly string[] | undefined;
  /**
   * Also return the reactions to each message. Those of messages in the memory of the user's client are known; for every
   * other message a request is made, so `limit` may be at most 100.
   * @default false
   */
  readonly reactions?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

const MAX_PAGE = 1_000;
const MAX_PAGE_WITH_REACTIONS = 100;

/** `null` counts as absent, because databases return it for missing values. */
const options = optionsOf<GetRoomMessagesOptions>({
  roomId,
  userId: nullAsAbsent(userId),
  limit: nullAsAbsent(wholeNumber(1, MAX_PAGE)),
  from: nullAsAbsent(unchecked()),
  after: nullAsAbsent(eventId),
  around: nullAsAbsent(eventId),
  threadId: nullAsAbsent(eventId),
  types: v.optional(pageTypes),
  reactions: v.optional(flag),
  signal: v.optional(signal),
});

export const getRoomMessagesSchema = v.pipe(
  options,
  v.transform((read) => {
    checkReading(read);
    return read;
  }),
);

/** Throws `INVALID_OPTIONS` for options that exclude each other. */
function checkReading({ from, after, around, threadId, reactions, limit }: GetRoomMessagesOptions): void {
  if (reactions && limit !== undefined && limit > MAX_PAGE_WITH_REACTIONS) {
    throw invalidOptions(
      `expected \`limit\` to be at most ${MAX_PAGE_WITH_REACTIONS} with \`reactions\`, got ${limit}`,
    );
  }
  const ways = Object.entries({ after, around, threadId }).flatMap(([name, id]) => (id === undefined ? [] : [name]));
  if (ways.length > 1)
    throw invalidOptions(`expected one of \`after\`, \`around\`, \`threadId\`, got ${ways.join(' and ')}`);
  if (around === undefined || from === undefined) return;
  throw invalidOptions('expected `from` without `around`: the `end` of that page leads to older messages of the room');
}
