import type { JsonObject } from '../json.js';
import { objectOrEmpty } from '../json.js';
import type { Membership } from '../world/user.js';

/** An event as the homeserver holds it. */
export interface RoomEvent {
  readonly eventId: string;
  readonly roomId: string;
  readonly type: string;
  readonly sender: string;
  /** Set on state events. */
  readonly stateKey?: string;
  /** When it was sent, in milliseconds since the Unix epoch. */
  readonly timestamp: number;
  /** Its position in the homeserver's stream. */
  readonly stream: number;
  /** What was sent; pruned when the event is redacted. */
  content: JsonObject;
  /** The event that this one redacts. */
  readonly redacts?: string;
  redactedBecause?: RoomEvent;
  /** The state event whose place this one took. */
  readonly replaces?: RoomEvent;
  /** The device and transaction that sent it; only that device is shown the transaction id. */
  readonly sentBy?: SentBy;
}

export interface SentBy {
  readonly device: string;
  readonly txnId: string;
}

/** What the sender decides of an event; the rest comes from the room. */
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

/** What the event relates to, if anything. */
export function relationOf(content: JsonObject): Relation | undefined {
  const relatesTo = objectOrEmpty(content['m.relates_to']);
  const { rel_type: relType, event_id: eventId, key } = relatesTo;
  if (typeof relType !== 'string' || typeof eventId !== 'string') return undefined;
  return { relType, eventId, key: typeof key === 'string' ? key : undefined };
}

export function membershipIn(event: RoomEvent | undefined): Membership {
  return (event?.content['membership'] as Membership | undefined) ?? 'leave';
}
