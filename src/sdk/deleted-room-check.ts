import type { MatrixClient } from 'matrix-js-sdk';
import { ClientEvent } from 'matrix-js-sdk';
import type { RoomBatch } from '../core/ports/event-source.js';
import type { Logger } from '../core/logger.js';
import type { SyncRequests } from '../sync/sync-requests.js';
import type { ParsedSync } from '../sync/sync-response.js';

/**
 * Finds joined rooms that no longer exist on the homeserver: when an admin deletes a room, Synapse sends no leave event.
 * The check requests `/joined_rooms` right before a sync. A room that is in neither of the two responses was deleted.
 * It runs after a resume, and after the homeserver has refused a request for a room.
 */
export class DeletedRoomCheck {
  readonly #client: MatrixClient;
  readonly #requests: SyncRequests;
  readonly #logger: Logger;
  #isDue: boolean;

  constructor(client: MatrixClient, requests: SyncRequests, logger: Logger, isDue: boolean) {
    this.#client = client;
    this.#requests = requests;
    this.#logger = logger;
    this.#isDue = isDue;
  }

  /** Requests a check before the next sync. */
  request(): void {
    this.#isDue = true;
  }

  /** The rooms that may be deleted; a sync has to follow. If the request fails, returns none until the next check. */
  async findSuspects(signal: AbortSignal): Promise<ReadonlySet<string>> {
    if (!this.#isDue) return new Set();
    this.#isDue = false;
    const rooms = this.#client.getRooms().filter((room) => room.getMyMembership() === 'join');
    if (rooms.length === 0) return new Set();
    try {
      const joined = await this.#requests.joinedRooms();
      if (!joined) return new Set(); // an incomplete list proves nothing
      const joinedIds = new Set(joined);
      return new Set(rooms.map(({ roomId }) => roomId).filter((roomId) => !joinedIds.has(roomId)));
    } catch (error) {
      if (signal.aborted) throw error;
      this.#logger.debug(
        { err: error },
        'requesting the joined rooms failed; deleted rooms are found by the next check',
      );
      return new Set();
    }
  }

  /** Removes suspects that are not in the sync from the client. Returns the sync with a leave for each of them. */
  remove(sync: ParsedSync, suspects: ReadonlySet<string>): ParsedSync {
    const present = new Set([...sync.batch.rooms, ...sync.batch.invites].map(({ roomId }) => roomId));
    const deleted = [...suspects].filter((roomId) => !present.has(roomId));
    if (deleted.length === 0) return sync;
    for (const roomId of deleted) {
      this.#client.store.removeRoom(roomId);
      this.#client.emit(ClientEvent.DeleteRoom, roomId);
    }
    return { ...sync, batch: { ...sync.batch, rooms: [...sync.batch.rooms, ...deleted.map(leaveBatch)] } };
  }
}

function leaveBatch(roomId: string): RoomBatch {
  const nothing = {
    provenance: 'gap-fill' as const,
    timeline: [],
    ephemeral: [],
    limited: false,
    prevBatch: undefined,
  };
  return { roomId, membership: 'leave', ...nothing, isGone: true };
}
