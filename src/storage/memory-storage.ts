import { RecordStorage } from './record-storage.js';
import type { RecordKind, Records, StoredRecord } from './records.js';
import type { Storage } from './storage.js';

/**
 * A storage in memory, which is the default, and useful in tests. Its data is lost when the process ends. Closing it does
 * nothing, so that a second manager with the same storage finds the data of the first one, as after a restart.
 */
export function memoryStorage(): Storage {
  const records = new MemoryRecords();
  return new RecordStorage({ run: async (_userId, _durability, use) => use(records), close: async () => {} });
}

interface Entry {
  /** The place in the order of all users' records. */
  readonly sequence: number;
  readonly value: string;
}

class MemoryRecords implements Records {
  readonly #users = new Map<string, Map<RecordKind, Map<string, Entry>>>();
  #sequence = 0;

  get(userId: string, kind: RecordKind, key = ''): string | undefined {
    return this.#find(userId, kind)?.get(key)?.value;
  }

  has(userId: string, kind: RecordKind, key: string): boolean {
    return this.get(userId, kind, key) !== undefined;
  }

  put(userId: string, kind: RecordKind, key: string, value: string): void {
    const entries = this.#findOrCreate(userId, kind);
    entries.set(key, { sequence: entries.get(key)?.sequence ?? this.#sequence++, value });
  }

  add(userId: string, kind: RecordKind, key: string): void {
    if (this.get(userId, kind, key) === undefined) this.put(userId, kind, key, '');
  }

  delete(userId: string, kind: RecordKind, key = ''): boolean {
    return this.#find(userId, kind)?.delete(key) ?? false;
  }

  deleteKind(userId: string, kind: RecordKind): void {
    this.#users.get(userId)?.delete(kind);
  }

  deleteUser(userId: string): void {
    this.#users.delete(userId);
  }

  list(userId: string, kind: RecordKind, limit?: number): StoredRecord[] {
    return [...(this.#find(userId, kind) ?? [])].slice(0, limit).map(([key, { value }]) => ({ key, value }));
  }

  listOfAllUsers(kind: RecordKind): StoredRecord[] {
    return [...this.#users.values()]
      .flatMap((kinds) => [...(kinds.get(kind) ?? [])])
      .toSorted(([, a], [, b]) => a.sequence - b.sequence)
      .map(([key, { value }]) => ({ key, value }));
  }

  trim(userId: string, kind: RecordKind, limit: number): void {
    const entries = this.#findOrCreate(userId, kind);
    for (const key of entries.keys()) {
      if (entries.size <= limit) return;
      entries.delete(key);
    }
  }

  #find(userId: string, kind: RecordKind): Map<string, Entry> | undefined {
    return this.#users.get(userId)?.get(kind);
  }

  #findOrCreate(userId: string, kind: RecordKind): Map<string, Entry> {
    const kinds = this.#users.get(userId) ?? new Map<RecordKind, Map<string, Entry>>();
    const entries = kinds.get(kind) ?? new Map<string, Entry>();
    this.#users.set(userId, kinds.set(kind, entries));
    return entries;
  }
}
