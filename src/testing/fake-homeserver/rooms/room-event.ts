import type { JsonObject } from '../json.js';
import { objectOrEmpty } from '../json.js';
import type { Membership } from '../world/user.js';

/** An event as the homeserver stores it. */
export interface RoomEvent {
  readonly eventId: string;
  readonly roomId: string;
  readonly type: string;
  readonly sender: string;
  /** Only state events have it. */
  readonly stateKey?: string;
  /** When it was sent, in milliseconds since the Unix epoch. */
  readonly timestamp: number;
  /** Position in the homeserver's stream. */
  readonly stream: number;
  /** The sent content; pruned when the event is redacted. */
  content: JsonObject;
  /** Id of the event that this event redacts. */
  readonly redacts?: string;
  redactedBecause?: RoomEvent;
  /** The state event that this event replaced. */
  readonly replaces?: RoomEvent;
  /** The sending device and its transaction id. Only that device receives the transaction id. */
  readonly sentBy?: SentBy;
}

export interface SentBy {
  readonly device: string;
  readonly txnId: string;
}

/** The parts of an event that its sender sets. */
export interface EventDraft {
  readonly type: string;
  readonly sender: string;
  readonly content: JsonObject;
  readonly stateKey?: string | undefined;
  readonly redacts?: string | undefined;
  readonly sentBy?: SentBy | undefined;
  readonly eventId?: string | undefined;
}

export interface Relation {
  readonly relType: string;
  readonly eventId: string;
  readonly key: string | undefined;
}

/** The relation in an event's content, if it has one. */
export function relationOf(content: JsonObject): Relation | undefined {
  const relatesTo = objectOrEmpty(content['m.relates_to']);
  const { rel_type: relType, event_id: eventId, key } = relatesTo;
  if (typeof relType !== 'string' || typeof eventId !== 'string') return undefined;
  return { relType, eventId, key: typeof key === 'string' ? key : undefined };
}

export function membershipIn(event: RoomEvent | undefined): Membership {
  return (event?.content['membership'] as Membership | undefined) ?? 'leave';
}
