import type { IInvitedRoom, IJoinedRoom, IStrippedState, MatrixClient, Room } from 'matrix-js-sdk';
import type { ISavedSync } from 'matrix-js-sdk/lib/store/index.js';
import type { EventBatch, ResumeData } from '../core/ports/event-source.js';
import { isObject } from '../core/raw-event.js';
import type { UnreadCount } from '../core/unread-count.js';
import type { StoredCheckpoint } from '../storage/checkpoint.js';
import { isRoomKey, readUnreadSnapshots } from './unread-snapshots.js';

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

interface AccountData {
  readonly hasUnloadedRooms: boolean;
  /** Account data that was not passed to the SDK. */
  readonly held: readonly unknown[];
}

/**
 * The resume data to store with a batch.
 * @param accountData - also store the account data, and whether rooms are unloaded after the batch
 * @param unread - the stored form of unread counts
 */
export function resumeData(
  client: MatrixClient,
  { rooms: changedRooms, invites }: EventBatch,
  roomsToStore: ReadonlySet<string>,
  accountData: AccountData | undefined,
  unread: ReadonlyMap<string, string | null>,
): ResumeData | undefined {
  const rooms = new Map(unread);
  for (const roomId of roomsToStore) rooms.set(roomId, snapshot(client.getRoom(roomId), 'join'));
  for (const { roomId, membership } of changedRooms) if (membership === 'leave') rooms.set(roomId, null);
  for (const { roomId } of invites) rooms.set(roomId, snapshot(client.getRoom(roomId), 'invite'));
  if (rooms.size === 0 && !accountData) return undefined;
  return { rooms, ...(accountData && { accountData: accountDataText(client, accountData) }) };
}

/** What a client resumes from. */
export interface ResumeState {
  /**
   * The position to resume from. That is the position of the stored rooms, unless rooms are not loaded yet: their backlog
   * ends at `since`, and only a sync from there tells which of their events are newer.
   */
  readonly resumesFrom: string | undefined;
  /** The saved sync for the SDK's store; undefined if there is no position. */
  readonly savedSync: ISavedSync | undefined;
  /** Ids of the stored rooms if the client was stopped before it had loaded all rooms; undefined otherwise. */
  readonly loadedRooms: Iterable<string> | undefined;
  /** The unread counts of all rooms; undefined if they are not stored. */
  readonly unread: ReadonlyMap<string, UnreadCount> | undefined;
}

/** Reads the stored form. */
export function readCheckpoint({
  since,
  clientSince,
  rooms: stored,
  accountData: text,
}: StoredCheckpoint): ResumeState {
  const rooms = new Map([...stored].filter(([key]) => isRoomKey(key)));
  const accountData = text === undefined ? undefined : (JSON.parse(text) as StoredAccountData);
  const loadedRooms = accountData?.growing ? rooms.keys() : undefined;
  const resumesFrom = since === undefined || loadedRooms ? since : (clientSince ?? since);
  if (resumesFrom === undefined) return { resumesFrom, savedSync: undefined, loadedRooms, unread: undefined };
  const counts = readUnreadSnapshots(stored);
  const join = new Map<string, IJoinedRoom>();
  const invite = new Map<string, IInvitedRoom>();
  for (const [roomId, room] of rooms) {
    const { membership, state, summary } = JSON.parse(room) as RoomSnapshot;
    const empty = {
      timeline: { events: [], prev_batch: null },
      ephemeral: { events: [] },
      account_data: { events: [] },
    };
    const count = counts?.get(roomId);
    const unreadNotifications = count && { notification_count: count.unread, highlight_count: count.highlights };
    const joined = { summary, state: { events: state }, ...empty, unread_notifications: unreadNotifications ?? {} };
    if (membership === 'join') join.set(roomId, joined as unknown as IJoinedRoom);
    else invite.set(roomId, { invite_state: { events: state as IStrippedState[] } });
  }
  // Only a room that the user is in has a count, whatever was stored.
  const isCurrent = ([roomId]: readonly [string, UnreadCount]): boolean =>
    loadedRooms !== undefined || join.has(roomId);
  const unread = counts && new Map([...counts].filter(isCurrent));
  const roomsData = { join: Object.fromEntries(join), invite: Object.fromEntries(invite), leave: {}, knock: {} };
  const events = (accountData?.events ?? []) as ISavedSync['accountData'];
  return { resumesFrom, savedSync: { nextBatch: resumesFrom, roomsData, accountData: events }, loadedRooms, unread };
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
  const present = room.getMembers().filter(({ membership: theirs }) => theirs === 'join' || theirs === 'invite');
  const members = (present.length > 1 ? present : room.getMembers()).map(({ userId }) => userId);
  const heroes = members.filter((userId) => userId !== room.myUserId).slice(0, 5);
  const summary = {
    'm.joined_member_count': room.getJoinedMemberCount(),
    'm.invited_member_count': room.getInvitedMemberCount(),
    ...(members.length <= 8 && { 'm.heroes': heroes }),
  };
  return JSON.stringify({ membership, state, summary } satisfies RoomSnapshot);
}

function accountDataText(client: MatrixClient, { hasUnloadedRooms, held }: AccountData): string {
  const known = [...client.store.accountData.values()].map((event) => event.event).filter((event) => isObject(event));
  return JSON.stringify({
    events: [...known, ...held],
    ...(hasUnloadedRooms && { growing: true }),
  } satisfies StoredAccountData);
}
