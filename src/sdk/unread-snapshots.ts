import type { EventBatch } from '../core/ports/event-source.js';
import type { UnreadCount } from '../core/unread-count.js';
import type { UnreadCounts } from '../sync/unread-counts.js';

/** Stored if the counts of all rooms are stored. No room has this key. */
const MARKER = 'unread';

/** Among the stored rooms, the key of a room's unread count. A count changes often, and the room's state is large. */
function keyOf(roomId: string): string {
  return `${MARKER} ${roomId}`;
}

/** Stores the unread counts of one client with its rooms, once all of them are known. */
export class UnreadSnapshots {
  readonly #counts: UnreadCounts;
  /** Whether the counts of all rooms are stored, or will be with the next position. */
  #areStored: boolean;

  constructor(counts: UnreadCounts) {
    this.#counts = counts;
    this.#areStored = counts.isComplete;
  }

  /**
   * What to store with the batch: the changed counts of its rooms, and those of all rooms if none are stored.
   * @param all - store the counts of all rooms of the batch
   */
  changes({ rooms }: EventBatch, all: boolean): Map<string, string | null> {
    const changes = new Map<string, string | null>();
    if (!this.#counts.isComplete) return changes;
    for (const roomId of this.#counts.dropped) changes.set(keyOf(roomId), null);
    for (const { roomId, membership, unread } of rooms) {
      if (membership === 'leave') changes.set(keyOf(roomId), null);
      else if (all || unread) changes.set(keyOf(roomId), toText(this.#counts.get(roomId)));
    }
    if (this.#areStored) return changes;
    this.#areStored = true;
    for (const [roomId, count] of this.#counts.entries()) changes.set(keyOf(roomId), toText(count));
    return changes.set(MARKER, 'complete');
  }
}

function toText({ unread, highlights }: UnreadCount): string | null {
  return unread + highlights === 0 ? null : JSON.stringify([unread, highlights]);
}

/** Reads the stored counts; undefined if they are not stored. */
export function readUnreadSnapshots(stored: ReadonlyMap<string, string>): Map<string, UnreadCount> | undefined {
  if (!stored.has(MARKER)) return undefined;
  const counts = new Map<string, UnreadCount>();
  for (const [key, text] of stored) {
    if (!key.startsWith(keyOf(''))) continue;
    const [unread, highlights] = JSON.parse(text) as [number, number];
    counts.set(key.slice(keyOf('').length), { unread, highlights });
  }
  return counts;
}

/** Whether a key of the stored rooms is the id of a room. */
export function isRoomKey(key: string): boolean {
  return key !== MARKER && !key.startsWith(keyOf(''));
}
