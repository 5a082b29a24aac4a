import { firstAfter } from '../world/stream.js';
import type { Membership } from '../world/user.js';
import { pruneContent } from './prune-content.js';
import { Receipts } from './receipts.js';
import { Relations } from './relations.js';
import type { RoomEvent } from './room-event.js';
import { membershipIn } from './room-event.js';
import { RoomState } from './room-state.js';
import { Typing } from './typing.js';
import { UnreadCounts } from './unread-counts.js';

/** A room: its events in order, and the state derived from them. */
export class Room {
  readonly events: RoomEvent[] = [];
  readonly state = new RoomState();
  readonly receipts = new Receipts();
  readonly typing = new Typing();
  readonly relations = new Relations();
  readonly unread = new UnreadCounts();
  /** User ids of the present members. */
  readonly joined = new Set<string>();
  readonly #byId = new Map<string, RoomEvent>();
  readonly #memberships = new Map<string, RoomEvent[]>();
  readonly #counts = new Map<Membership, number>();

  constructor(
    readonly roomId: string,
    readonly version: string,
  ) {}

  /** Adds an event, which has to be newer than all others. */
  add(event: RoomEvent): void {
    this.events.push(event);
    this.#byId.set(event.eventId, event);
    if (event.stateKey !== undefined) this.state.add(event);
    if (event.type === 'm.room.member') this.#addMembership(event);
    if (event.redacts !== undefined) this.#redact(event.redacts, event);
    this.relations.add(event);
    this.unread.add(event);
  }

  event(eventId: string): RoomEvent | undefined {
    return this.#byId.get(eventId);
  }

  /** The room's events after `position` up to `end`, in order. */
  eventsBetween(position: number, end: number): RoomEvent[] {
    return this.events.slice(firstAfter(this.events, position), firstAfter(this.events, end));
  }

  /** The user's membership events, oldest first. */
  membershipsOf(userId: string): readonly RoomEvent[] {
    return this.#memberships.get(userId) ?? [];
  }

  membership(userId: string): Membership {
    return membershipIn(this.membershipsOf(userId).at(-1));
  }

  /** The user's membership at a position, after the event at that position. */
  membershipAt(userId: string, position: number): Membership {
    const memberships = this.membershipsOf(userId);
    return membershipIn(memberships[firstAfter(memberships, position) - 1]);
  }

  /** How many users have that membership now. */
  countMembers(membership: Membership): number {
    return this.#counts.get(membership) ?? 0;
  }

  /** The position of the last change that syncs of members can contain. */
  get lastStream(): number {
    return Math.max(this.events.at(-1)?.stream ?? 0, this.typing.lastStream, this.receipts.lastStream);
  }

  #addMembership(event: RoomEvent): void {
    const userId = event.stateKey ?? '';
    const memberships = this.#memberships.get(userId);
    if (memberships) {
      this.#count(membershipIn(memberships.at(-1)), -1);
      memberships.push(event);
    } else {
      this.#memberships.set(userId, [event]);
    }
    this.#count(membershipIn(event), 1);
    if (membershipIn(event) === 'join') this.joined.add(userId);
    else this.joined.delete(userId);
  }

  #count(membership: Membership, change: 1 | -1): void {
    this.#counts.set(membership, this.countMembers(membership) + change);
  }

  #redact(eventId: string, because: RoomEvent): void {
    const target = this.#byId.get(eventId);
    if (!target || target.redactedBecause) return;
    this.relations.remove(target);
    this.unread.remove(target);
    target.content = pruneContent(target.type, target.content);
    target.redactedBecause = because;
  }
}
