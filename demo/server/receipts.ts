const MAX_ROOMS = 1_000;
const MAX_READERS = 500;

/** The last read receipt of each user in each room, as far as they have come. Bounded: the oldest are forgotten. */
export class Receipts {
  readonly #rooms = new Map<string, Map<string, string>>();

  set(roomId: string, userId: string, eventId: string): void {
    const readers = this.#rooms.get(roomId) ?? new Map<string, string>();
    putNewest(this.#rooms, roomId, readers, MAX_ROOMS);
    putNewest(readers, userId, eventId, MAX_READERS);
  }

  /** Pairs of user id and event id. */
  of(roomId: string): (readonly [userId: string, eventId: string])[] {
    return [...(this.#rooms.get(roomId) ?? [])];
  }
}

function putNewest<T>(map: Map<string, T>, key: string, value: T, max: number): void {
  map.delete(key);
  map.set(key, value);
  const [oldest] = map.keys();
  if (map.size > max && oldest !== undefined) map.delete(oldest);
}
