import type { Decryption } from './decryption.js';
import type { EventContent } from './raw-event.js';
import type { Redacted } from './redacted.js';

/**
 * How an event came: `live` as it happened; `gap-fill` fetched because the sync had left it out or the client was
 * asleep; `backlog` from before the client's first sync, delivered only to callbacks that ask for it.
 */
export type Provenance = 'live' | 'backlog' | 'gap-fill';

interface InRoom {
  /** Whose client the event came to. */
  readonly userId: string;
  readonly roomId: string;
  readonly provenance: Provenance;
}

interface InTimeline extends InRoom {
  readonly eventId: string;
  /** Who sent it, as a full user id. */
  readonly sender: string;
  /** The sender's homeserver's clock, in milliseconds since the Unix epoch (`origin_server_ts`). */
  readonly timestamp: number;
  /** Nearly empty where the event had been taken back before it came. */
  readonly content: EventContent;
  /** Who took it back, when and why, if that had happened before the event came. */
  readonly redacted?: Redacted;
  /** The Matrix event type, such as `m.room.message`. */
  readonly eventType: string;
  /** Whether it was sent encrypted. */
  readonly encrypted: boolean;
  /** What came of decrypting it, where the user's client has encryption. */
  readonly decryption?: Decryption;
  /** The `txnId` that this user's own device sent it with. */
  readonly transactionId?: string;
}

/** A message: `m.room.message`, a sticker, a poll, an encrypted event, or any other event that is no state. */
export interface MessageEvent extends InTimeline {
  readonly type: 'message';
}

/** A reaction to an event. @see https://spec.matrix.org/v1.16/client-server-api/#event-annotations-and-reactions */
export interface ReactionEvent extends InTimeline {
  readonly type: 'reaction';
  /** The event reacted to; undefined when the reaction names none. */
  readonly relatesTo: string | undefined;
  /** What was reacted with, such as an emoji. */
  readonly key: string | undefined;
}

/** An event was redacted: its content was taken back. */
export interface RedactionEvent extends InTimeline {
  readonly type: 'redaction';
  /** The event redacted. */
  readonly redacts: string | undefined;
}

/** A change of somebody's membership (`m.room.member`). */
export interface MembershipEvent extends InTimeline {
  readonly type: 'membership';
  /** Whose membership. */
  readonly stateKey: string;
  /** `join`, `invite`, `leave`, `ban` or `knock`. */
  readonly membership: string;
}

/** A change of any other room state, such as `m.room.name`. */
export interface StateEvent extends InTimeline {
  readonly type: 'state';
  /** Which piece of state of that type; often empty. */
  readonly stateKey: string;
}

/** Who else is typing now: the whole list without the user's own id, each time it changes. */
export interface TypingEvent extends InRoom {
  readonly type: 'typing';
  /** Full user ids. */
  readonly userIds: readonly string[];
}

/** Somebody read up to an event. */
export interface ReceiptEvent extends InRoom {
  readonly type: 'receipt';
  /** The event read up to. */
  readonly eventId: string;
  /** Who read. */
  readonly sender: string;
  /** `m.read`, or `m.read.private` for the user's own. */
  readonly receiptType: string;
  /** Milliseconds since the Unix epoch. */
  readonly timestamp: number;
  /** The thread read, or `main`; undefined for the room as a whole. */
  readonly threadId?: string;
}

/** The user was invited to a room. */
export interface InviteEvent extends InRoom {
  readonly type: 'invite';
  /** Who invites. */
  readonly sender: string;
  /** The room's name, where the invitation tells it. */
  readonly roomName: string | undefined;
  /** Whether the inviter marked it as a direct chat. */
  readonly isDirect: boolean;
}

/** What callbacks get. */
export type ClientEvent =
  | MessageEvent
  | ReactionEvent
  | RedactionEvent
  | MembershipEvent
  | StateEvent
  | TypingEvent
  | ReceiptEvent
  | InviteEvent;

export type ClientEventType = ClientEvent['type'];

export const clientEventTypes: readonly ClientEventType[] = [
  'message',
  'reaction',
  'redaction',
  'membership',
  'state',
  'typing',
  'receipt',
  'invite',
];
