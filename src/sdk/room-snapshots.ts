import type { IInvitedRoom, IJoinedRoom, IStrippedState, MatrixClient, Room } from 'matrix-js-sdk';
import type { ISavedSync } from 'matrix-js-sdk/lib/store/index.js';
import type { EventBatch, ResumeData } from '../core/ports/event-source.js';
import { isObject } from '../core/raw-event.js';
import type { StoredCheckpoint } from '../storage/checkpoint.js';

/** What is stored of a room: as much as the SDK needs to go on from a sync position as if it had never stopped. */
interface RoomSnapshot {
  readonly membership: 'join' | 'invite';
  readonly state: unknown[];
  readonly summary?: unknown;
}

interface StoredAccountData {
  readonly events: unknown[];
  /** Whether rooms are missing: the client was stopped while it took them in. */
  readonly growing?: true;
}

/**
 * The resume data that goes with a batch: the rooms whose state it changed, and account data when that changed.
 * @param growing - whether rooms are missing after the batch
 * @param held - account data that the client has not been told of
 */
export function resumeData(
  client: MatrixClient,
  batch: EventBatch,
  stateChanged: ReadonlySet<string>,
  accountDataChanged: boolean,
  growing: boolean,
  held: readonly unknown[],
): ResumeData | undefined {
  const rooms = new Map<string, string | null>();
  for (const { roomId, membership } of batch.rooms) {
    if (membership === 'leave') rooms.set(roomId, null);
    else if (stateChanged.has(roomId)) rooms.set(roomId, snapshot(client.getRoom(roomId), 'join'));
  }
  for (const { roomId } of batch.invites) rooms.set(roomId, snapshot(client.getRoom(roomId), 'invite'));
  if (rooms.size === 0 && !accountDataChanged) return undefined;
  return { rooms, ...(accountDataChanged && { accountData: accountData(client, growing, held) }) };
}

/** The position that the client goes on from: that of what is stored of its rooms. */
export function resumePosition({ since, clientSince }: StoredCheckpoint): string | undefined {
  return since === undefined ? undefined : (clientSince ?? since);
}

/** What the SDK's store answers for a saved sync; undefined when there is no position to resume from. */
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

/** The rooms that the client has, if it was stopped before it had all of them. */
export function knownRoomsOf(stored: StoredCheckpoint): Iterable<string> | undefined {
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
      // Of what the homeserver adds, resuming needs nothing; dropping it halves the size.
      state.push(raw);
    }
  }
  const joined = room.getJoinedMemberCount();
  const heroes = room.getMembers().length > 8 ? undefined : room.getMembers().map(({ userId }) => userId);
  const summary = { 'm.joined_member_count': joined, 'm.invited_member_count': room.getInvitedMemberCount() };
  const withHeroes = heroes
    ? { ...summary, 'm.heroes': heroes.filter((id) => id !== room.myUserId).slice(0, 5) }
    : summary;
  return JSON.stringify({ membership, state, summary: withHeroes } satisfies RoomSnapshot);
}

function accountData(client: MatrixClient, growing: boolean, held: readonly unknown[]): string {
  const known = [...client.store.accountData.values()].map((event) => event.event).filter((event) => isObject(event));
  return JSON.stringify({ events: [...known, ...held], ...(growing && { growing }) } satisfies StoredAccountData);
}
