import type { JsonObject } from '../json.js';
import { clientEvent } from '../rooms/client-event.js';
import { receiptContent } from '../rooms/receipts.js';
import type { Room } from '../rooms/room.js';
import type { RoomEvent } from '../rooms/room-event.js';
import { membershipIn } from '../rooms/room-event.js';
import { roomSummary } from './room-summary.js';
import type { SyncContext } from './sync-context.js';
import { stateFor } from './sync-state.js';
import type { Timeline, TimelineRange } from './timeline.js';
import { loadTimeline } from './timeline.js';
import { unreadBody } from './unread-body.js';

/** The entry of a joined room in a sync; undefined if nothing has changed. */
export function joinedEntry(context: SyncContext, room: Room): JsonObject | undefined {
  const { since, upTo, user, filter } = context;
  const data = user.roomAccountData(room.roomId);
  const range = rangeOf(context, room, upTo);
  const isNew = range.since === undefined || context.fullState;
  const accountData = data
    .eventsAfter(isNew ? 0 : (since ?? 0))
    .filter((event) => filter.roomAccountData.accepts(event));
  if (!isNew && room.lastStream <= (since ?? 0) && accountData.length === 0) return undefined;
  const ephemeral = ephemeralOf(context, room).filter((event) => filter.ephemeral.accepts(event));
  const timeline = loadTimeline(context, room, range);
  if (!isNew && timeline.events.length === 0 && !timeline.limited && ephemeral.length + accountData.length === 0) {
    return undefined;
  }
  const state = stateFor(context, room, range, timeline);
  const summary = roomSummary(context, room, range, timeline, state);
  return {
    timeline: timelineBody(context, room, timeline),
    ...stateBody(context, room, state),
    account_data: { events: accountData },
    ephemeral: { events: ephemeral },
    ...unreadBody(room, user, filter.unreadByThread),
    summary,
  };
}

/** The entry of a room that the user has left, up to their leave. */
export function leftEntry(context: SyncContext, room: Room, leftAt: number): JsonObject {
  const range = rangeOf(context, room, leftAt);
  const timeline = loadTimeline(context, room, range);
  const state = stateFor(context, room, range, timeline);
  return {
    timeline: timelineBody(context, room, timeline),
    ...stateBody(context, room, state),
    account_data: { events: [] },
  };
}

const STRIPPED_TYPES = [
  'm.room.create',
  'm.room.join_rules',
  'm.room.canonical_alias',
  'm.room.avatar',
  'm.room.encryption',
  'm.room.name',
  'm.room.topic',
];

/** The entry of a room that the user is invited to. */
export function invitedEntry({ viewer }: SyncContext, room: Room): JsonObject {
  const invite = room.state.current.get('m.room.member', viewer.userId);
  const known = strippedState(room, invite);
  // Synapse does not strip the invite event
  return {
    invite_state: { events: invite ? [...known, clientEvent(room, invite, viewer, { format: 'sync' })] : known },
  };
}

/** The entry of a room that the user wants to be let into. */
export function knockedEntry({ viewer }: SyncContext, room: Room): JsonObject {
  const knock = room.state.current.get('m.room.member', viewer.userId);
  const known = strippedState(room, undefined);
  return {
    knock_state: { events: knock ? [...known, clientEvent(room, knock, viewer, { format: 'sync' })] : known },
  };
}

/** The state for an invited user in sliding sync, where the invite event is stripped too. */
export function strippedInviteState(room: Room, userId: string): JsonObject[] {
  const invite = room.state.current.get('m.room.member', userId);
  return [...strippedState(room, invite), ...(invite ? [stripped(invite)] : [])];
}

function strippedState(room: Room, invite: RoomEvent | undefined): JsonObject[] {
  const inviter = invite && room.state.current.get('m.room.member', invite.sender);
  const events = [...STRIPPED_TYPES.map((type) => room.state.current.get(type)), inviter];
  return events.filter((event) => event !== undefined).map(stripped);
}

function stripped({ type, stateKey, content, sender }: RoomEvent): JsonObject {
  return { type, state_key: stateKey, content, sender };
}

/** The range of the timeline. After a new join it starts like an initial sync. */
function rangeOf({ since, user }: SyncContext, room: Room, upTo: number): TimelineRange {
  if (since === undefined) return { since, upTo };
  const changes = room.membershipsOf(user.userId).filter(({ stream }) => stream > since && stream <= upTo);
  const wasJoined = room.membershipAt(user.userId, since) === 'join';
  const hasJoined = changes.some((event) => membershipIn(event) === 'join');
  const stayed = wasJoined && changes.slice(0, -1).every((event) => membershipIn(event) === 'join');
  return hasJoined && !stayed ? { since: undefined, joinedSince: since, upTo } : { since, upTo };
}

function timelineBody(context: SyncContext, room: Room, { events, limited, prevBatch }: Timeline): JsonObject {
  const { viewer, world, timelineLimit, since } = context;
  const body: JsonObject = {
    events: events.map((event) =>
      clientEvent(room, event, viewer, { format: 'sync', membership: true, relations: limited }),
    ),
    prev_batch: world.positions.history(prevBatch),
  };
  if (!(timelineLimit?.omitLimited && since !== undefined)) body['limited'] = limited;
  return body;
}

function stateBody({ viewer, useStateAfter }: SyncContext, room: Room, state: readonly RoomEvent[]): JsonObject {
  const events = state.map((event) => clientEvent(room, event, viewer, { format: 'sync' }));
  return useStateAfter ? { 'org.matrix.msc4222.state_after': { events } } : { state: { events } };
}

function ephemeralOf({ since = 0, user }: SyncContext, room: Room): { type: string; content: JsonObject }[] {
  const events: { type: string; content: JsonObject }[] = [];
  if (room.typing.lastStream > since) events.push({ type: 'm.typing', content: { user_ids: room.typing.userIds } });
  const receipts = room.receipts.after(since, user.userId);
  if (receipts.length > 0) events.push({ type: 'm.receipt', content: receiptContent(receipts) });
  return events;
}
