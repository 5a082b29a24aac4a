import type { Room } from '../rooms/room.js';
import type { RoomEvent } from '../rooms/room-event.js';
import type { StateMap } from '../rooms/room-state.js';
import type { SyncContext } from './sync-context.js';
import type { Timeline, TimelineRange } from './timeline.js';

const MEMBER = 'm.room.member';

/**
 * The state that belongs to a timeline: what the client needs before it, or, with MSC4222, after it.
 * Follows `compute_state_delta` in Synapse's handlers/sync.py.
 */
export function stateFor(context: SyncContext, room: Room, range: TimelineRange, timeline: Timeline): RoomEvent[] {
  const { filter, useStateAfter } = context;
  const shown = stateInTimeline(timeline);
  const fetch = filter.lazyLoadMembers ? membersToFetch(timeline, shown, useStateAfter) : undefined;
  const isFull = range.since === undefined || context.fullState;
  const found = isFull
    ? fullState(context, room, range, timeline, shown, fetch)
    : changedState(context, room, range, timeline, shown, fetch);
  return withoutSentMembers(context, found, shown).filter((event) => filter.state.accepts(event));
}

interface FoundState {
  readonly events: Iterable<RoomEvent>;
  /** Those that changed since the last sync; they are sent whether or not the client has had them. */
  readonly changed: ReadonlySet<RoomEvent>;
}

function fullState(
  { user, useStateAfter }: SyncContext,
  room: Room,
  { upTo }: TimelineRange,
  timeline: Timeline,
  shown: ReadonlyMap<string, RoomEvent>,
  fetch: ReadonlySet<string> | undefined,
): FoundState {
  const wanted = fetch && new Set([...fetch, user.userId]);
  const end = selectState(room.state.at(upTo), wanted);
  const first = timeline.events[0];
  if (useStateAfter) return { events: end, changed: new Set() };
  const start = first ? selectState(room.state.at(first.stream - 1), wanted) : [];
  return { events: without([...start, ...end], shown), changed: new Set() };
}

function changedState(
  { useStateAfter }: SyncContext,
  room: Room,
  { since = 0, upTo }: TimelineRange,
  timeline: Timeline,
  shown: ReadonlyMap<string, RoomEvent>,
  fetch: ReadonlySet<string> | undefined,
): FoundState {
  const first = timeline.events[0];
  if (useStateAfter) {
    const members = fetch ? selectMembers(room.state.at(upTo), fetch) : [];
    const changed = latestByKey(room.state.between(since, upTo));
    return { events: new Set([...members, ...changed]), changed: new Set(changed) };
  }
  const start = first ? first.stream - 1 : upTo;
  const members = fetch && first ? selectMembers(room.state.at(start), fetch) : [];
  if (!timeline.limited) return { events: members, changed: new Set() };
  const changes = [...latestByKey(room.state.between(since, start)), ...latestByKey(room.state.between(since, upTo))];
  const changed = without(changes, shown);
  return { events: new Set([...members, ...changed]), changed: new Set(changed) };
}

/** The state without members, and of the members those in `wanted`; everything when `wanted` is undefined. */
function selectState(state: StateMap, wanted: ReadonlySet<string> | undefined): RoomEvent[] {
  return wanted ? [...state.all(MEMBER), ...selectMembers(state, wanted)] : state.all();
}

function selectMembers(state: StateMap, wanted: ReadonlySet<string>): RoomEvent[] {
  return [...wanted].flatMap((userId) => state.get(MEMBER, userId) ?? []);
}

function membersToFetch(
  timeline: Timeline,
  shown: ReadonlyMap<string, RoomEvent>,
  useStateAfter: boolean,
): Set<string> {
  const senders = timeline.events.map(({ sender }) => sender);
  return new Set(useStateAfter ? senders : senders.filter((sender) => !isShownFirst(timeline, shown, sender)));
}

/** Whether the timeline tells of the sender's membership before it shows anything else of theirs. */
function isShownFirst(timeline: Timeline, shown: ReadonlyMap<string, RoomEvent>, sender: string): boolean {
  if (!shown.has(stateKeyOf(MEMBER, sender))) return false;
  const first = timeline.events.find((event) => event.sender === sender || isMembershipOf(event, sender));
  return first !== undefined && first.sender !== sender && isMembershipOf(first, sender);
}

function isMembershipOf(event: RoomEvent, userId: string): boolean {
  return event.type === MEMBER && event.stateKey === userId;
}

function withoutSentMembers(
  { filter, viewer, since, upTo, lazyMembers }: SyncContext,
  { events, changed }: FoundState,
  shown: ReadonlyMap<string, RoomEvent>,
): RoomEvent[] {
  if (!filter.lazyLoadMembers || filter.includeRedundantMembers) return [...events];
  const isNews = (event: RoomEvent): boolean =>
    event.type !== MEMBER || changed.has(event) || !lazyMembers.wasSent(viewer.device, event.eventId, since ?? -1);
  const news = [...events].filter(isNews);
  for (const event of [...news, ...shown.values()]) {
    if (event.type === MEMBER) lazyMembers.markSent(viewer.device, event.eventId, upTo);
  }
  return news;
}

function stateInTimeline(timeline: Timeline): Map<string, RoomEvent> {
  const shown = timeline.events.filter(({ stateKey }) => stateKey !== undefined);
  return new Map(shown.map((event) => [stateKeyOf(event.type, event.stateKey ?? ''), event]));
}

function latestByKey(events: readonly RoomEvent[]): RoomEvent[] {
  return [...new Map(events.map((event) => [stateKeyOf(event.type, event.stateKey ?? ''), event])).values()];
}

function without(events: readonly RoomEvent[], shown: ReadonlyMap<string, RoomEvent>): Set<RoomEvent> {
  const excluded = new Set(shown.values());
  return new Set(events.filter((event) => !excluded.has(event)));
}

function stateKeyOf(type: string, stateKey: string): string {
  return `${type}\n${stateKey}`;
}
