import * as v from 'valibot';
import type { CallOptions } from '../core/call-options.js';
import type { RoomMessage } from '../core/room-message.js';
import type { UnreadCount } from '../core/unread-count.js';
import { nullAsAbsent, oneOf, optionsOf, signal, unchecked, wholeNumber } from '../core/validation.js';

export interface ListRoomsOptions extends CallOptions {
  /** How many rooms at most, 1 to 1,000. @default 50 */
  readonly limit?: number | undefined;
  /** The `next` of the previous page. @default the first page */
  readonly from?: string | undefined;
  /** The user's rooms, or the rooms that the user is invited to. @default 'join' */
  readonly membership?: 'join' | 'invite' | undefined;
}

export const listRoomsSchema = optionsOf<ListRoomsOptions>({
  limit: nullAsAbsent(wholeNumber(1, 1_000)),
  from: nullAsAbsent(unchecked<string>()),
  membership: nullAsAbsent(oneOf('join', 'invite')),
  signal: v.optional(signal),
});

/** A room of a user's list. */
export interface RoomSummary extends UnreadCount {
  readonly roomId: string;
  /** The name by the specification: the room's name, its alias, or the names of its members. */
  readonly name: string;
  /** An `mxc://` URI. Of a direct room without an avatar: that of the other member. */
  readonly avatarUrl: string | undefined;
  readonly topic: string | undefined;
  /** Whether the user's list of direct rooms has it; of an invitation: whether it says so. */
  readonly isDirect: boolean;
  readonly isEncrypted: boolean;
  readonly membership: 'join' | 'invite';
  /** Number of joined members. */
  readonly memberCount: number;
  /**
   * The last message, if it is among the room's newest 20 events. Read as on pages, but no client is started to decrypt.
   * Verifications of devices, answers to polls, and what follows the invitation to a call are no messages here.
   */
  readonly lastMessage: RoomMessage | undefined;
  /** Time of the last message, or else of the newest event, in milliseconds since the Unix epoch. Undefined for invitations. */
  readonly lastActivityAt: number | undefined;
}

export interface RoomSummaryPage {
  /** Newest activity first. There can be fewer than asked for, or none, and still a `next`. */
  readonly rooms: RoomSummary[];
  /** Pass it as `from` for the next page. Absent on the last page. */
  readonly next?: string;
}
