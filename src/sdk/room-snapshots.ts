import type { IInvitedRoom, IJoinedRoom, IStrippedState, MatrixClient, Room } from 'matrix-js-sdk';
import type { ISavedSync } from 'matrix-js-sdk/lib/store/index.js';
import type { EventBatch, ResumeData } from '../core/ports/event-source.js';
import { isObject } from '../core/raw-event.js';
import type { StoredCheckpoint } from '../storage/checkpoint.js';

/** The stored form of a room: the state that the SDK needs to resume from a sync position. */
interface RoomSnapshot {
  readonly membership: 'join' | 'invite';
  readonly state: unknown[];
  readonly summary?: unknown;
}

interface StoredAccountData {
  readonly events: unknown[];
  /** Stored form of `hasUnloadedRooms`: the client was stopped before it had loaded all rooms. */
  readonly growing?: true;
}

/**
 * The resume data to store with a batch.
 * @param storesAccountData - whether to include the account data; it also records whether rooms are unloaded
 * @param hasUnloadedRooms - whether rooms are not loaded after the batch
 * @param heldAccountData - account data that was not passed to the SDK
 */
export function resumeData(
  client: MatrixClient,
  batch: EventBatch,
  roomsToStore: ReadonlySet<string>,
  storesAccountData: boolean,
  hasUnloadedRooms: boolean,
  heldAccountData: readonly unknown[],
): ResumeData | undefined {
  const rooms = new Map<string, string | null>();
  for (const { roomId, membership } of batch.rooms) {
    if (membership === 'leave') rooms.set(roomId, null);
    else if (roomsToStore.has(roomId)) rooms.set(roomId, snapshot(client.getRoom(roomId), 'join'));
  }
  for (const { roomId } of batch.invites) rooms.set(roomId, snapshot(client.getRoom(roomId), 'invite'));
  if (rooms.size === 0 && !storesAccountData) return undefined;
  return { rooms, ...(storesAccountData && { accountData: accountData(client, hasUnloadedRooms, heldAccountData) }) };
}

/**
 * The position to resume the client from. That is the position of its stored rooms, unless rooms are not loaded yet: their
 * backlog ends at `since`, and only a sync from there tells which of their events are newer.
 */
export function resumePosition(stored: StoredCheckpoint): string | undefined {
  const { since, clientSince } = stored;
  if (since === undefined || clientSince === undefined) return since;
  return loadedRoomsIfPartial(stored) ? since : clientSince;
}

/** The saved sync for the SDK's store; undefined if there is no position to resume from. */
export function savedSync(stored: StoredCheckpoint): ISavedSync | undefined {
  const nextBatch = resumePosition(stored);
  if (nextBatch === undefined) return undefined;
  const join = new Map<string, IJoinedRoom>();
  const invite = new Map<string, IInvitedRoom>();
  for (const [roomId, text] of stored.rooms) {
    const room = JSON.parse(text) as RoomSnapshot;
    if (room.membership === 'invite') {
      invite.set(roomId, { invite_state: { events: room.state as IStrippedState[] } });
      continue;
    }
    const joined = {
      summary: room.summary,
      state: { events: room.state },
      timeline: { events: [], prev_batch: null },
      ephemeral: { events: [] },
      account_data: { events: [] },
      unread_notifications: {},
    };
    join.set(roomId, joined as unknown as IJoinedRoom);
  }
  return {
    nextBatch,
    roomsData: { join: Object.fromEntries(join), invite: Object.fromEntries(invite), leave: {}, knock: {} },
    accountData: (accountDataOf(stored)?.events ?? []) as ISavedSync['accountData'],
  };
}

/** Ids of the stored rooms if the client was stopped before it had loaded all rooms; undefined otherwise. */
export function loadedRoomsIfPartial(stored: StoredCheckpoint): Iterable<string> | undefined {
  return accountDataOf(stored)?.growing ? stored.rooms.keys() : undefined;
}

function accountDataOf({ accountData: text }: StoredCheckpoint): StoredAccountData | undefined {
  return text === undefined ? undefined : (JSON.parse(text) as StoredAccountData);
}

function snapshot(room: Room | null, membership: RoomSnapshot['membership']): string | null {
  if (!room) return null;
  const state: unknown[] = [];
  for (const byKey of room.currentState.events.values()) {
    for (const event of byKey.values()) {
      const { unsigned: _unsigned, ...raw } = event.event;
      // Resuming does not need `unsigned`, and dropping it halves the size.
      state.push(raw);
    }
  }
  const joinedCount = room.getJoinedMemberCount();
  const heroes = room.getMembers().length > 8 ? undefined : room.getMembers().map(({ userId }) => userId);
  const summary = { 'm.joined_member_count': joinedCount, 'm.invited_member_count': room.getInvitedMemberCount() };
  const withHeroes = heroes
    ? { ...summary, 'm.heroes': heroes.filter((id) => id !== room.myUserId).slice(0, 5) }
    : summary;
  return JSON.stringify({ membership, state, summary: withHeroes } satisfies RoomSnapshot);
}

function accountData(client: MatrixClient, hasUnloadedRooms: boolean, held: readonly unknown[]): string {
  const known = [...client.store.accountData.values()].map((event) => event.event).filter((event) => isObject(event));
  return JSON.stringify({
    events: [...known, ...held],
    ...(hasUnloadedRooms && { growing: true }),
  } satisfies StoredAccountData);
}
