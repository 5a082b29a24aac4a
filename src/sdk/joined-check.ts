import type { MatrixClient } from 'matrix-js-sdk';
import { ClientEvent } from 'matrix-js-sdk';
import type { RoomBatch } from '../core/ports/event-source.js';
import type { Logger } from '../core/logger.js';
import type { SyncRequests } from '../sync/sync-requests.js';
import type { ParsedSync } from '../sync/sync-response.js';

/**
 * Finds the rooms that the client has joined and the homeserver knows nothing of: Synapse tells no leave when an admin
 * deletes a room. The homeserver is asked right before a sync, so a leave that happens later is told by a sync; what
 * neither that sync nor the list names is gone. One request, after a resume and after a request for a room was refused.
 */
export class JoinedCheck {
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

  /** Checks before the next sync. */
  want(): void {
    this.#isDue = true;
  }

  /** The rooms that may be gone; to be followed by a sync. A failure is left to the next check. */
  async suspects(signal: AbortSignal): Promise<ReadonlySet<string>> {
    if (!this.#isDue) return new Set();
    this.#isDue = false;
    const known = this.#client.getRooms().filter((room) => room.getMyMembership() === 'join');
    if (known.length === 0) return new Set();
    try {
      const joined = new Set(await this.#requests.joinedRooms());
      return new Set(known.map(({ roomId }) => roomId).filter((roomId) => !joined.has(roomId)));
    } catch (error) {
      if (signal.aborted) throw error;
      this.#logger.debug({ err: error }, 'checking the joined rooms failed');
      return new Set();
    }
  }

  /** Takes the suspects that the sync does not name out of the client; returns the sync with their end. */
  remove(read: ParsedSync, suspects: ReadonlySet<string>): ParsedSync {
    const named = new Set([...read.batch.rooms, ...read.batch.invites].map(({ roomId }) => roomId));
    const gone = [...suspects].filter((roomId) => !named.has(roomId));
    if (gone.length === 0) return read;
    for (const roomId of gone) {
      this.#client.store.removeRoom(roomId);
      this.#client.emit(ClientEvent.DeleteRoom, roomId);
    }
    return { ...read, batch: { ...read.batch, rooms: [...read.batch.rooms, ...gone.map(endOf)] } };
  }
}

function endOf(roomId: string): RoomBatch {
  const nothing = { timeline: [], ephemeral: [], limited: false, prevBatch: undefined };
  return { roomId, membership: 'leave', ...nothing, isGone: true };
}
