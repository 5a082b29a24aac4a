import type { MatrixClient } from 'matrix-js-sdk';
import { ClientEvent } from 'matrix-js-sdk';
import type { RoomBatch } from '../core/ports/event-source.js';
import type { SyncContext } from '../sync/sync-context.js';
import type { SyncPoll, SyncResult } from '../sync/sync-poll.js';
import { uncachedFilter } from '../sync/sync-query.js';
import { requestJoinedRooms } from '../sync/sync-requests.js';
import type { SyncQuery } from '../sync/sync-requests.js';

/**
 * Finds joined rooms that no longer exist on the homeserver: when an admin deletes a room, Synapse sends no leave event.
 * The check requests `/joined_rooms` right before a sync. A room that is in neither of the two responses was deleted.
 * It runs after a resume, after a lost position, and after the homeserver has refused a request for a room.
 */
export class DeletedRoomCheck {
  readonly #client: MatrixClient;
  readonly #context: SyncContext;
  #isDue: boolean;

  constructor(client: MatrixClient, context: SyncContext, isDue: boolean) {
    this.#client = client;
    this.#context = context;
    this.#isDue = isDue;
  }

  /** Requests a check before the next sync. */
  request(): void {
    this.#isDue = true;
  }

  /** Makes the next sync, and the check before it if one is due. If `signal` interrupts the check, it stays due. */
  async next(poll: SyncPoll, query: SyncQuery, signal: AbortSignal): Promise<SyncResult> {
    if (!this.#isDue) return poll.next(query, signal);
    this.#isDue = false;
    try {
      const suspects = await this.#findSuspects(signal);
      if (suspects.length > 0) {
        // A cached response would lack the newest events, such as the user's own leave.
        const filter = uncachedFilter(query.filter);
        return this.#remove(await poll.next({ ...query, filter, timeout: 0 }, signal), suspects);
      }
    } catch (error) {
      this.#isDue = true;
      throw error;
    }
    return poll.next(query, signal);
  }

  /** The rooms that may be deleted. If the request fails, returns none until the next check. */
  async #findSuspects(signal: AbortSignal): Promise<string[]> {
    const rooms = this.#client.getRooms().filter((room) => room.getMyMembership() === 'join');
    if (rooms.length === 0) return [];
    try {
      const joined = await requestJoinedRooms(this.#context);
      if (!joined) return []; // an incomplete list proves nothing
      const joinedIds = new Set(joined);
      return rooms.map(({ roomId }) => roomId).filter((roomId) => !joinedIds.has(roomId));
    } catch (error) {
      if (signal.aborted) throw error;
      this.#context.logger.debug(
        { err: error },
        'requesting the joined rooms failed; deleted rooms are found by the next check',
      );
      return [];
    }
  }

  /** Removes suspects that are not in the sync from the client. Returns the sync with a leave for each of them. */
  #remove(sync: SyncResult, suspects: readonly string[]): SyncResult {
    const present = new Set([...sync.batch.rooms, ...sync.batch.invites].map(({ roomId }) => roomId));
    const deleted = suspects.filter((roomId) => !present.has(roomId));
    for (const roomId of deleted) {
      this.#client.store.removeRoom(roomId);
      this.#client.emit(ClientEvent.DeleteRoom, roomId);
    }
    return { ...sync, batch: { ...sync.batch, rooms: [...sync.batch.rooms, ...deleted.map(leaveBatch)] } };
  }
}

function leaveBatch(roomId: string): RoomBatch {
  const nothing = { timeline: [], ephemeral: [], limited: false, prevBatch: undefined };
  return { roomId, membership: 'leave', provenance: 'gap-fill', ...nothing, isGone: true };
}
