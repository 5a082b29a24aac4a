import type { EventContent } from '../core/raw-event.js';
import { isObject } from '../core/raw-event.js';

/** After how long, and after how many messages, the key of a room's messages is replaced. */
export interface Rotation {
  readonly periodMs: number;
  readonly messages: number;
}

/** What the `m.room.encryption` events of a room have said so far. */
export interface RoomEncryption {
  /** The strictest rotation of the events with {@link MEGOLM}; undefined if there was none. */
  readonly rotation?: Rotation;
  /** An algorithm that is not supported; undefined after an event with {@link MEGOLM}. */
  readonly unsupported?: string;
}

/** The only algorithm that rooms use. */
const MEGOLM = 'm.megolm.v1.aes-sha2';
/** The rotation of a room whose event does not state one. @see https://spec.matrix.org/v1.16/client-server-api/#mroomencryption */
export const DEFAULT_ROTATION: Rotation = { periodMs: 604_800_000, messages: 100 };
/** Upper bounds. The crypto library has the same one for messages; a period beyond its numbers would fail each send. */
const MAX_ROTATION: Rotation = { periodMs: 31_536_000_000, messages: 10_000 };
const MAX_ALGORITHM_LENGTH = 100;

/**
 * Reads the content of an `m.room.encryption` event. A number that is no valid limit counts as absent. A content without an
 * algorithm, such as that of a redacted event, says only that the room is encrypted.
 */
export function readRoomEncryption(content: EventContent): RoomEncryption {
  const { algorithm, rotation_period_ms: periodMs, rotation_period_msgs: messages } = content;
  if (algorithm === MEGOLM) return { rotation: readRotation({ periodMs, messages }) };
  if (algorithm === undefined || algorithm === null) return {};
  const name = typeof algorithm === 'string' ? algorithm : `(${typeof algorithm})`;
  return { unsupported: name.slice(0, MAX_ALGORITHM_LENGTH) };
}

/** The content of an event with this rotation. */
export function encryptionContent({ periodMs, messages }: Rotation): EventContent {
  return { algorithm: MEGOLM, rotation_period_ms: periodMs, rotation_period_msgs: messages };
}

/**
 * Nothing makes a room's encryption weaker again: the stricter limits count. Without one of the two, the other is the
 * result.
 */
export function mergeEncryption(a: RoomEncryption | undefined, b: RoomEncryption): RoomEncryption;
export function mergeEncryption(a?: RoomEncryption, b?: RoomEncryption): RoomEncryption | undefined;
export function mergeEncryption(a?: RoomEncryption, b?: RoomEncryption): RoomEncryption | undefined {
  if (!a || !b) return a ?? b;
  const rotation = strictest(a.rotation, b.rotation);
  if (rotation) return { rotation };
  const unsupported = a.unsupported ?? b.unsupported;
  return unsupported === undefined ? {} : { unsupported };
}

/** Without one of the two, the other is the result. */
export function strictest(a?: Rotation, b?: Rotation): Rotation | undefined {
  if (!a || !b) return a ?? b;
  return { periodMs: Math.min(a.periodMs, b.periodMs), messages: Math.min(a.messages, b.messages) };
}

/** Whether `rotation` replaces keys earlier than `other` in some case. */
export function isStricter(rotation: Rotation, other: Rotation): boolean {
  return rotation.periodMs < other.periodMs || rotation.messages < other.messages;
}

export function sameEncryption(a: RoomEncryption, b: RoomEncryption): boolean {
  return (
    a.unsupported === b.unsupported &&
    a.rotation?.periodMs === b.rotation?.periodMs &&
    a.rotation?.messages === b.rotation?.messages
  );
}

/** The text that a storage keeps. */
export function toText(encryption: RoomEncryption): string {
  return JSON.stringify(encryption);
}

/** Reads a stored text. One that cannot be read still says that the room is encrypted. */
export function fromText(text: unknown): RoomEncryption {
  try {
    const stored = JSON.parse(String(text)) as unknown;
    if (!isObject(stored)) return {};
    if (isObject(stored.rotation)) return { rotation: readRotation(stored.rotation) };
    return typeof stored.unsupported === 'string' ? { unsupported: stored.unsupported } : {};
  } catch {
    return {};
  }
}

/** Replaces limits that are missing or invalid by the defaults, and cuts those that are too large. */
export function readRotation({ periodMs, messages }: Readonly<Record<string, unknown>>): Rotation {
  return {
    periodMs: limit(periodMs, DEFAULT_ROTATION.periodMs, MAX_ROTATION.periodMs),
    messages: limit(messages, DEFAULT_ROTATION.messages, MAX_ROTATION.messages),
  };
}

function limit(value: unknown, fallback: number, max: number): number {
  return typeof value === 'number' && value >= 1 ? Math.min(Math.floor(value), max) : fallback;
}
