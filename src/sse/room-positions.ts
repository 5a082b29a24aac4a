import { hash } from 'node:crypto';

/** The most rooms whose positions fit into an id. The header of the browser's next request then has some 3 kB. */
export const MAX_POSITIONS = 50;
/** An id that names no room: a browser that returns with it is told to read all rooms again. */
export const NO_POSITION = '-';
/** The longest id, in characters. Event ids of room versions before 4 can be long. */
const MAX_ID_LENGTH = 6_000;
const MAX_EVENT_ID_LENGTH = 255;

interface Position {
  /** The short hash of the room. Kept, because each event of a stream names all rooms. */
  readonly key: string;
  readonly eventId: string;
}

/**
 * The last event of each room that the browser has. The id of a server-sent event is the id of its Matrix event; if the
 * stream covers several rooms, the last events of the other rooms follow: `$event;room;room2=event2;room3=event3`, where
 * rooms are short hashes. A browser sends back only the last id that it has received, so each id must name all positions.
 */
export class RoomPositions {
  /** Positions by room; the rooms that were set last are at the end. */
  readonly #positions = new Map<string, Position>();
  readonly #coversOneRoom: boolean;

  constructor(coversOneRoom: boolean) {
    this.#coversOneRoom = coversOneRoom;
  }

  get(roomId: string): string | undefined {
    return this.#positions.get(roomId)?.eventId;
  }

  /** The position of the room is the event from now on. If there are too many rooms, forgets the one set longest ago. */
  set(roomId: string, eventId: string): void {
    if (!isSendable(eventId)) return;
    const key = this.#positions.get(roomId)?.key ?? roomKey(roomId);
    this.#positions.delete(roomId);
    this.#positions.set(roomId, { key, eventId });
    if (this.#positions.size > MAX_POSITIONS) this.#positions.delete(this.#positions.keys().next().value as string);
  }

  /** Sets the position of a room that has none, unless there are too many. */
  setFirst(roomId: string, eventId: string): void {
    if (this.#positions.size < MAX_POSITIONS && !this.#positions.has(roomId)) this.set(roomId, eventId);
  }

  /** The id that names the positions; undefined if there are none. */
  encode(): string | undefined {
    const [newest, ...others] = [...this.#positions.values()].toReversed();
    if (!newest) return undefined;
    const own = `$${encodeEventId(newest.eventId)}`;
    if (this.#coversOneRoom) return own;
    let id = `${own};${newest.key}`;
    for (const { key, eventId } of others) {
      const part = `;${key}=${encodeEventId(eventId)}`;
      if (id.length + part.length <= MAX_ID_LENGTH) id += part;
    }
    return id;
  }
}

/** What the browser sent as its last id. */
export interface LastEventId {
  /** The position of a room, if the id names it. */
  readonly positionOf: (roomId: string) => string | undefined;
  /** Whether the id names a room that is none of these. */
  readonly hasOthers: (roomIds: readonly string[]) => boolean;
}

/**
 * Reads an id of {@link RoomPositions}. Undefined for anything else, also for an id that names no room if the stream covers
 * several. What it says is not trusted: events are read as the user.
 */
export function decodeLastEventId(value: unknown, soleRoom: string | undefined): LastEventId | undefined {
  const text: unknown = Array.isArray(value) && value.length === 1 ? value[0] : value;
  if (typeof text !== 'string' || text.length > MAX_ID_LENGTH) return undefined;
  const [own = '', ownKey, ...others] = text.split(';');
  const key = ownKey ?? (soleRoom === undefined ? undefined : roomKey(soleRoom));
  if (!own.startsWith('$') || key === undefined || others.length >= MAX_POSITIONS) return undefined;
  const positions = new Map<string, string>();
  for (const part of [`${key}=${own.slice(1)}`, ...others]) {
    const [, room, encoded = ''] = /^([\w-]{8})=([\w.!~*'()%-]+)$/.exec(part) ?? [];
    const eventId = decodeEventId(encoded);
    if (room === undefined || eventId === undefined || positions.has(room)) return undefined;
    positions.set(room, eventId);
  }
  return {
    positionOf: (roomId) => positions.get(roomKey(roomId)),
    hasOthers: (roomIds) => {
      const known = new Set(roomIds.map(roomKey));
      return [...positions.keys()].some((room) => !known.has(room));
    },
  };
}

/** 48 bits of a hash: rooms of one user do not collide by chance. */
function roomKey(roomId: string): string {
  return hash('sha256', roomId, 'base64url').slice(0, 8);
}

function isSendable(eventId: string): boolean {
  return (
    eventId.startsWith('$') && eventId.length > 1 && eventId.length <= MAX_EVENT_ID_LENGTH && eventId.isWellFormed()
  );
}

/** Without the `$`. Event ids of newer room versions stay as they are; others may contain any character. */
function encodeEventId(eventId: string): string {
  return encodeURIComponent(eventId.slice(1));
}

function decodeEventId(encoded: string): string | undefined {
  try {
    const eventId = `$${decodeURIComponent(encoded)}`;
    return isSendable(eventId) ? eventId : undefined;
  } catch {
    return undefined; // an invalid escape
  }
}
