import type { Room } from '../rooms/room.js';
import type { RoomEvent } from '../rooms/room-event.js';
import type { StateMap } from '../rooms/room-state.js';
import type { SyncContext } from './sync-context.js';
import type { Timeline, TimelineRange } from './timeline.js';

const MEMBER = 'm.room.member';

/** The parts of a timeline that concern the room's state. */
interface TimelineState {
  /** The last state event of each type and state key. */
  readonly shown: ReadonlySet<RoomEvent>;
  /** The users whose membership events the timeline needs; undefined without lazy loading. */
  readonly fetch: ReadonlySet<string> | undefined;
}

interface FoundState {
  readonly events: Iterable<RoomEvent>;
  /** Events that changed since the last sync. They are sent even if the client has received them. */
  readonly changed: ReadonlySet<RoomEvent>;
}

/**
 * The state section for a timeline: the state before it, or, with MSC4222, after it.
 * Follows `compute_state_delta` in Synapse's handlers/sync.py, which gives the reasons.
 */
export function stateFor(context: SyncContext, room: Room, range: TimelineRange, timeline: Timeline): RoomEvent[] {
  const { filter } = context;
  const inTimeline = readTimeline(context, timeline);
  const isFull = range.since === undefined || context.fullState;
  const find = isFull ? fullState : context.useStateAfter ? stateAfterChanges : stateBeforeChanges;
  const found = find(context, room, range, timeline, inTimeline);
  return withoutSentMembers(context, found, inTimeline).filter((event) => filter.state.accepts(event));
}

type StateFinder = (
  context: SyncContext,
  room: Room,
  range: TimelineRange,
  timeline: Timeline,
  inTimeline: TimelineState,
) => FoundState;

const fullState: StateFinder = ({ user, useStateAfter }, room, { upTo }, { events }, { shown, fetch }) => {
  const wanted = fetch && new Set([...fetch, user.userId]);
  const end = selectState(room.state.at(upTo), wanted);
  if (useStateAfter) return { events: end, changed: new Set() };
  const start = events[0] ? selectState(room.state.at(events[0].stream), wanted) : [];
  return { events: latestByKey(without([...start, ...end], shown)), changed: new Set() };
};

const stateAfterChanges: StateFinder = (_context, room, { since = 0, upTo }, _timeline, { fetch }) => {
  const members = fetch ? selectMembers(room.state.at(upTo), fetch) : [];
  const changed = latestByKey(room.state.between(since, upTo));
  return { events: new Set([...members, ...changed]), changed: new Set(changed) };
};

const stateBeforeChanges: StateFinder = (_context, room, { since = 0, upTo }, timeline, { shown, fetch }) => {
  const startsAt = timeline.events[0]?.stream ?? upTo;
  const members = fetch && timeline.events[0] ? selectMembers(room.state.at(startsAt), fetch) : [];
  if (!timeline.limited && !timeline.hasGaps) return { events: members, changed: new Set() };
  const isWanted = ({ type, stateKey = '' }: RoomEvent): boolean =>
    timeline.limited || type !== MEMBER || !fetch || fetch.has(stateKey);
  const atStart = latestByKey(room.state.between(since, startsAt));
  const atEnd = latestByKey(room.state.between(since, upTo));
  const changed = latestByKey(without([...atStart, ...atEnd].filter(isWanted), shown));
  return { events: latestByKey([...without(members, shown), ...changed]), changed: new Set(changed) };
};

function readTimeline({ filter, useStateAfter }: SyncContext, { events }: Timeline): TimelineState {
  const byKey = new Map<string, RoomEvent>();
  const fetch = new Set<string>();
  for (const event of events) {
    // no membership event is needed for a sender whose membership event is earlier in the timeline
    if (useStateAfter || !byKey.has(keyOf(MEMBER, event.sender))) fetch.add(event.sender);
    if (event.stateKey !== undefined) byKey.set(keyOf(event.type, event.stateKey), event);
  }
  return { shown: new Set(byKey.values()), fetch: filter.lazyLoadMembers ? fetch : undefined };
}

/** The state with only the members in `wanted`, or with all members if `wanted` is undefined. */
function selectState(state: StateMap, wanted: ReadonlySet<string> | undefined): RoomEvent[] {
  return wanted ? [...state.all(MEMBER), ...selectMembers(state, wanted)] : state.all();
}

function selectMembers(state: StateMap, wanted: ReadonlySet<string>): RoomEvent[] {
  return [...wanted].flatMap((userId) => state.get(MEMBER, userId) ?? []);
}

function withoutSentMembers(
  { filter, viewer, since, upTo, lazyMembers }: SyncContext,
  { events, changed }: FoundState,
  { shown }: TimelineState,
): RoomEvent[] {
  if (!filter.lazyLoadMembers || filter.includeRedundantMembers) return [...events];
  const mustSend = (event: RoomEvent): boolean =>
    event.type !== MEMBER || changed.has(event) || !lazyMembers.wasSent(viewer.device, event.eventId, since ?? -1);
  const sentEvents = [...events].filter(mustSend);
  for (const event of [...sentEvents, ...shown]) {
    if (event.type === MEMBER) lazyMembers.markSent(viewer.device, event.eventId, upTo);
  }
  return sentEvents;
}

function latestByKey(events: readonly RoomEvent[]): RoomEvent[] {
  return [...new Map(events.map((event) => [keyOf(event.type, event.stateKey ?? ''), event])).values()];
}

function without(events: readonly RoomEvent[], excluded: ReadonlySet<RoomEvent>): RoomEvent[] {
  return events.filter((event) => !excluded.has(event));
}

function keyOf(type: string, stateKey: string): string {
  return `${type}\n${stateKey}`;
}
