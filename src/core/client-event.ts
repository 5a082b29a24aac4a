import type { MessageFields } from './message-fields.js';
import type { PresenceState } from './presence-state.js';
import type { TimelineFields } from './timeline-event.js';

/**
 * How an event was received. `live`: from a sync. `gap-fill`: fetched later, because a sync had omitted it or the client
 * was not running. `backlog`: older than the client's first sync, or than the user's join in a room joined later; delivered
 * only to callbacks that request it.
 */
export type Provenance = 'live' | 'backlog' | 'gap-fill';

interface InRoom {
  /** The user whose client received the event. */
  readonly userId: string;
  readonly roomId: string;
  readonly provenance: Provenance;
}

interface InTimeline extends InRoom, TimelineFields {
  /** The `txnId` with which this user's own device sent the event. */
  readonly transactionId?: string;
}

/** A message: `m.room.message`, a sticker, a poll, an encrypted event, or any other event that is not a state event. */
export interface MessageEvent extends InTimeline, MessageFields {
  readonly type: 'message';
}

/** A reaction to an event. @see https://spec.matrix.org/v1.16/client-server-api/#event-annotations-and-reactions */
export interface ReactionEvent extends InTimeline {
  readonly type: 'reaction';
  /** Id of the event that was reacted to. Undefined if the reaction does not name one. */
  readonly relatesTo: string | undefined;
  /** The reaction itself, such as an emoji. */
  readonly key: string | undefined;
}

/** An event was redacted, which removes its content. */
export interface RedactionEvent extends InTimeline {
  readonly type: 'redaction';
  /** Id of the redacted event. */
  readonly redacts: string | undefined;
}

/** A change of a user's membership in the room (`m.room.member`). */
export interface MembershipEvent extends InTimeline {
  readonly type: 'membership';
  /** Full user id of the user whose membership changed. */
  readonly stateKey: string;
  /** `join`, `invite`, `leave`, `ban` or `knock`. */
  readonly membership: string;
}

/** A change of any other room state, such as `m.room.name`. */
export interface StateEvent extends InTimeline {
  readonly type: 'state';
  /** The state key of the event. Often empty. */
  readonly stateKey: string;
}

/** The users who are typing in the room, without the user itself. Sent with the full list each time the list changes. */
export interface TypingEvent extends InRoom {
  readonly type: 'typing';
  /** Full user ids of the users who are typing. */
  readonly userIds: readonly string[];
}

/** A user has read the room up to an event. */
export interface ReceiptEvent extends InRoom {
  readonly type: 'receipt';
  /** Id of the last event that was read. */
  readonly eventId: string;
  /** Full user id of the reader. */
  readonly sender: string;
  /** `m.read`, or `m.read.private` for the user's own private receipts. */
  readonly receiptType: string;
  /** Milliseconds since the Unix epoch. */
  readonly timestamp: number;
  /** The thread that was read: its root event, or `main`. Undefined for a receipt that is not limited to a thread. */
  readonly threadId?: string;
}

/**
 * The user's unread count of the room has changed: by a message, or because the user has read the room, on whatever device.
 * Only for callbacks whose `types` name it. The first report of a room after a first start may repeat its numbers.
 */
export interface UnreadEvent extends InRoom {
  readonly type: 'unread';
  /** Number of unread events that notify, highlights and events of threads included. */
  readonly unread: number;
  /** Number of those that mention the user, or highlight for another reason. In an encrypted room always 0. */
  readonly highlights: number;
}

/**
 * The presence of a user who shares a room with the user, or of the user, as the homeserver tells it: its latest state. It
 * belongs to no room. Only for callbacks whose `types` name it, and without `rooms`.
 */
export interface PresenceEvent {
  readonly type: 'presence';
  /** The user whose client received the event. */
  readonly userId: string;
  readonly roomId?: undefined;
  readonly provenance: 'live';
  /** Full user id of the user whose presence it is. */
  readonly sender: string;
  readonly presence: PresenceState;
  /** When that user was last active, in milliseconds since the Unix epoch. Absent if the homeserver does not tell. */
  readonly lastActiveAt?: number;
  readonly statusMessage?: string;
  /** Whether that user is active now. Absent if the homeserver does not tell. */
  readonly currentlyActive?: boolean;
}

/** The user was invited to a room. */
export interface InviteEvent extends InRoom {
  readonly type: 'invite';
  /** Full user id of the inviter. */
  readonly sender: string;
  /** The room's name, if the invitation contains it. */
  readonly roomName: string | undefined;
  /** Whether the inviter marked it as a direct chat. */
  readonly isDirect: boolean;
}

/** The events that callbacks receive. */
export type ClientEvent =
  | MessageEvent
  | ReactionEvent
  | RedactionEvent
  | MembershipEvent
  | StateEvent
  | TypingEvent
  | ReceiptEvent
  | UnreadEvent
  | PresenceEvent
  | InviteEvent;

export type ClientEventType = ClientEvent['type'];

/** The kinds of events that are in timelines. Each has an `eventId`, the same for all users. */
export const timelineEventTypes = ['message', 'reaction', 'redaction', 'membership', 'state'] as const;

export function isTimelineEvent(
  event: ClientEvent,
): event is Extract<ClientEvent, { type: (typeof timelineEventTypes)[number] }> {
  const types: readonly string[] = timelineEventTypes;
  return types.includes(event.type);
}

export const clientEventTypes: readonly ClientEventType[] = [
  ...timelineEventTypes,
  'typing',
  'receipt',
  'unread',
  'presence',
  'invite',
];

/** The key of the queue in which the event waits for the ones before it: its room, or the one queue of presence events. */
export function queueKey(event: ClientEvent): string {
  return event.roomId ?? event.type;
}
