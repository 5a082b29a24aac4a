import type { Provenance } from '../core/client-event.js';
import type { Decryption } from '../core/decryption.js';
import { mapConcurrently } from '../core/map-concurrently.js';
import type { TimelineKind } from '../core/timeline-event.js';
import type { Connection } from '../users/connection.js';
import { decodeLastEventId, MAX_POSITIONS } from './room-positions.js';
import type { RoomPositions } from './room-positions.js';
import type { SseSettings } from './sse-options.js';

/** A timeline event, as a callback or a page has it. */
export interface TimelineEvent {
  readonly type: TimelineKind;
  readonly userId: string;
  readonly roomId: string;
  readonly eventId: string;
  readonly provenance: Provenance;
  readonly decryption?: Decryption;
}

export interface CatchUpOptions {
  /** Ends the reading. */
  readonly signal: AbortSignal;
  /** Called for a room that the browser has a position in. */
  readonly resumed: (roomId: string) => void;
  /** Sends a missed event. The next one is sent when this resolves. */
  readonly send: (event: TimelineEvent) => Promise<void>;
}

const timelineKinds: readonly string[] = [
  'message',
  'reaction',
  'redaction',
  'membership',
  'state',
] satisfies TimelineKind[];
/** Kinds of events that are in no timeline. */
const otherKinds: ReadonlySet<string> = new Set(['typing', 'receipt', 'unread', 'presence', 'invite']);

const PAGE_SIZE = 100;
/** How many rooms are read at the same time. */
const CONCURRENCY = 4;

/** Reads what a browser has missed since its `Last-Event-ID`. */
export class CatchUp {
  readonly #connection: Connection;
  readonly #settings: SseSettings;
  readonly #positions: RoomPositions;
  readonly #options: CatchUpOptions;
  /** Which events of a timeline are sent. */
  readonly #types: readonly string[];
  #rooms: readonly string[] | undefined;
  #sent = 0;

  constructor(connection: Connection, settings: SseSettings, positions: RoomPositions, options: CatchUpOptions) {
    this.#connection = connection;
    this.#settings = settings;
    this.#positions = positions;
    this.#options = options;
    this.#types = settings.types?.filter((type) => !otherKinds.has(type)) ?? timelineKinds;
    this.#rooms = settings.rooms;
  }

  /** Whether the browser gets events that it can miss. */
  get concernsTimelines(): boolean {
    return this.#types.length > 0;
  }

  /**
   * Sends what was missed in each watched room. Resolves to what may still be missing, or undefined. Does not reject.
   */
  async replay(): Promise<{ rooms?: readonly string[]; left?: true } | undefined> {
    if (!this.concernsTimelines) return undefined;
    const { lastEventId, rooms: givenRooms } = this.#settings;
    const last = decodeLastEventId(lastEventId, givenRooms?.length === 1 ? givenRooms[0] : undefined);
    const rooms = await this.#watchedRooms();
    if (!last || !rooms) return {};
    const incomplete = await mapConcurrently(rooms, CONCURRENCY, async (roomId) => {
      const position = last.positionOf(roomId);
      if (position === undefined) return [roomId];
      this.#positions.set(roomId, position);
      this.#options.resumed(roomId);
      return (await this.#replayRoom(roomId, position)) ? [] : [roomId];
    });
    const left = givenRooms === undefined && last.hasOthers(rooms);
    const missing = incomplete.flat();
    return missing.length > 0 || left ? { rooms: missing, ...(left && { left }) } : undefined;
  }

  /**
   * Finds the newest event of each watched room that has no position yet. Does not reject.
   * @param isReadAgain - whether the browser reads these rooms again. Otherwise a newest event that only the homeserver has
   *   is no position: the client has yet to receive it and those before it.
   */
  async readPositions(isReadAgain: boolean): Promise<void> {
    if (!this.concernsTimelines) return;
    const rooms = (await this.#watchedRooms()) ?? [];
    await mapConcurrently(rooms.slice(0, MAX_POSITIONS), CONCURRENCY, async (roomId) => {
      if (this.#positions.get(roomId) !== undefined) return;
      const { signal } = this.#options;
      try {
        const page = await this.#connection.getRoomMessages({ roomId, limit: 1, types: timelineKinds, signal });
        const [newest] = page.messages;
        if (newest && (isReadAgain || page.source === 'synced')) this.#positions.setFirst(roomId, newest.eventId);
      } catch {
        // Without a position, the browser's next connection is told to read the room again.
      }
    });
  }

  /** Resolves to whether everything after the event was sent. */
  async #replayRoom(roomId: string, after: string): Promise<boolean> {
    const { signal, send } = this.#options;
    const { userId } = this.#connection;
    const { replayLimit } = this.#settings;
    try {
      for (let from: string | undefined; ;) {
        const page = await this.#connection.getRoomMessages({
          roomId,
          after,
          from,
          limit: PAGE_SIZE,
          types: this.#types,
          signal,
        });
        for (const message of page.messages) {
          if (signal.aborted || this.#sent >= replayLimit) return false;
          this.#sent++;
          await send({ ...message, userId, provenance: 'gap-fill' });
        }
        if (page.end === undefined) return true;
        from = page.end;
      }
    } catch {
      return false; // an unknown event, a room that the user has left, an outage: the browser reads the room again
    }
  }

  async #watchedRooms(): Promise<readonly string[] | undefined> {
    try {
      return (this.#rooms ??= await this.#connection.getJoinedRooms({ signal: this.#options.signal }));
    } catch {
      return undefined;
    }
  }
}
