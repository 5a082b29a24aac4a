import type { Context } from '../core/context.js';
import { encryptionContents } from '../core/raw-event.js';
import type { EventContent } from '../core/raw-event.js';
import { RecentMap } from '../core/recent-map.js';
import type { Storage } from '../storage/storage.js';
import { fromText, mergeEncryption, readRoomEncryption, sameEncryption, toText } from './room-encryption.js';
import type { RoomEncryption } from './room-encryption.js';

type RoomStore = Required<Pick<Storage, 'getEncryptedRooms' | 'setEncryptedRooms'>>;

/** What the storage knew of the rooms of one read. */
type LoadedRooms = ReadonlyMap<string, RoomEncryption>;

const MAX_CACHED = 10_000;
/** For storages that cannot remember rooms. */
const MAX_IN_MEMORY = 100_000;
const ROOMS_PER_CALL = 500;
/** How long a failed write is not repeated, in milliseconds. */
const RETRY_MS = 10_000;

/**
 * The rooms that were seen encrypted, by any user of the manager. Such a room stays encrypted for ever, whatever the
 * homeserver says later. Only state events of the room itself count: every member can send a message of any type, and
 * every user can send an invitation that describes a room as encrypted.
 */
export class EncryptedRooms {
  readonly #context: Pick<Context, 'clock' | 'logger'>;
  readonly #store: RoomStore;
  /** Seen, and not stored yet. */
  readonly #unstored = new Map<string, RoomEncryption>();
  /** Stored rooms. A room that is not stored is read each time: another process may remember it at any moment. */
  readonly #cache = new RecentMap<RoomEncryption>(MAX_CACHED);
  /** The next read of the storage. */
  #nextLoad: { readonly roomIds: Set<string>; readonly done: Promise<LoadedRooms> } | undefined;
  #storing: Promise<void> | undefined;
  /** The earliest time of the next write, in milliseconds since the Unix epoch. */
  #nextWriteAt = 0;

  constructor(context: Pick<Context, 'clock' | 'logger'>, storage: Storage) {
    this.#context = context;
    const warn = (): void =>
      context.logger.warn({}, 'the storage cannot remember encrypted rooms: a restart of the process forgets them');
    this.#store = remembersRooms(storage) ? storage : inMemory(warn);
  }

  /**
   * Remembers rooms of which an `m.room.encryption` event was seen, with its content. They count as encrypted at once, and
   * are stored soon. A write that fails is logged, and repeated by later calls.
   */
  note(rooms: Iterable<readonly [roomId: string, content: EventContent]>): void {
    for (const [roomId, content] of rooms) this.#add(roomId, readRoomEncryption(content));
    this.#storeSoon();
  }

  /** Like {@link note}, of the state events among events that the homeserver returned for the room. */
  noteEvents(roomId: string, events: Iterable<unknown>): void {
    this.note(encryptionContents(events).map((content) => [roomId, content]));
  }

  /** Like {@link note}, with settings that were read before. */
  remember(roomId: string, encryption: RoomEncryption): void {
    this.#add(roomId, encryption);
    this.#storeSoon();
  }

  /** Whether the room was ever seen encrypted. Rejects if the storage fails: nothing may be sent unencrypted then. */
  async has(roomId: string): Promise<boolean> {
    return this.#seen(roomId) !== undefined || (await this.get(roomId)) !== undefined;
  }

  /** Whether it is already in memory that the room was seen encrypted. The storage may know more, see {@link has}. */
  isInMemory(roomId: string): boolean {
    return this.#seen(roomId) !== undefined;
  }

  /** The room's encryption settings, as seen so far; undefined if it was never seen encrypted. Rejects if the storage fails. */
  async get(roomId: string): Promise<RoomEncryption | undefined> {
    this.#storeSoon();
    if (this.#cache.has(roomId)) return this.#seen(roomId);
    // The cache is not enough: rooms that were read at the same time may have taken the room's place in it.
    const loaded = (await this.#loadSoon(roomId)).get(roomId);
    return mergeEncryption(loaded, this.#seen(roomId));
  }

  /** Resolves when the rooms seen so far are stored, or could not be stored. */
  async settled(): Promise<void> {
    await this.#storing;
  }

  #add(roomId: string, encryption: RoomEncryption): void {
    const seen = this.#seen(roomId);
    const merged = mergeEncryption(seen, encryption);
    if (!seen || !sameEncryption(seen, merged)) this.#unstored.set(roomId, merged);
  }

  #seen(roomId: string): RoomEncryption | undefined {
    return mergeEncryption(this.#cache.get(roomId), this.#unstored.get(roomId));
  }

  /** Rooms that are asked for at the same time are read together, as when a client receives all its rooms. */
  #loadSoon(roomId: string): Promise<LoadedRooms> {
    if (!this.#nextLoad || this.#nextLoad.roomIds.size === ROOMS_PER_CALL) this.#nextLoad = this.#startLoad();
    this.#nextLoad.roomIds.add(roomId);
    return this.#nextLoad.done;
  }

  #startLoad(): { readonly roomIds: Set<string>; readonly done: Promise<LoadedRooms> } {
    const roomIds = new Set<string>();
    const load = async (): Promise<LoadedRooms> => {
      await Promise.resolve();
      if (this.#nextLoad?.roomIds === roomIds) this.#nextLoad = undefined;
      return this.#load([...roomIds]);
    };
    return { roomIds, done: load() };
  }

  async #load(roomIds: readonly string[]): Promise<LoadedRooms> {
    const texts = await this.#store.getEncryptedRooms(roomIds);
    const loaded = new Map<string, RoomEncryption>();
    for (const roomId of roomIds) {
      const text = texts.get(roomId);
      const encryption = text === undefined ? undefined : fromText(text);
      if (!encryption) continue;
      loaded.set(roomId, encryption);
      this.#setCached(roomId, encryption);
    }
    return loaded;
  }

  /** Keeps what the cache knows: the room may have been stored after the storage was read. */
  #setCached(roomId: string, encryption: RoomEncryption): void {
    this.#cache.set(roomId, mergeEncryption(this.#cache.get(roomId), encryption));
  }

  #storeSoon(): void {
    if (this.#unstored.size === 0 || this.#context.clock.now() < this.#nextWriteAt) return;
    this.#storing ??= this.#storeAll().finally(() => (this.#storing = undefined));
  }

  async #storeAll(): Promise<void> {
    try {
      while (this.#unstored.size > 0) await this.#storeSome([...this.#unstored].slice(0, ROOMS_PER_CALL));
    } catch (error) {
      this.#nextWriteAt = this.#context.clock.now() + RETRY_MS;
      this.#context.logger.error({ err: error }, 'remembering encrypted rooms failed; it is retried');
    }
  }

  /** Reads the rooms first: most were stored before, when another user's client received them. */
  async #storeSome(rooms: readonly (readonly [roomId: string, encryption: RoomEncryption])[]): Promise<void> {
    const unknown = rooms.map(([roomId]) => roomId).filter((roomId) => !this.#cache.has(roomId));
    const loaded: LoadedRooms = unknown.length > 0 ? await this.#load(unknown) : new Map();
    const changed = new Map<string, string>();
    const merged = rooms.map(([roomId, encryption]) => {
      const stored = this.#cache.get(roomId) ?? loaded.get(roomId);
      const all = mergeEncryption(stored, encryption);
      if (!stored || !sameEncryption(stored, all)) changed.set(roomId, toText(all));
      return { roomId, encryption, all };
    });
    if (changed.size > 0) await this.#store.setEncryptedRooms(changed);
    for (const { roomId, encryption, all } of merged) {
      this.#setCached(roomId, all);
      if (this.#unstored.get(roomId) === encryption) this.#unstored.delete(roomId);
    }
  }
}

function remembersRooms(storage: Storage): storage is Storage & RoomStore {
  return storage.getEncryptedRooms !== undefined && storage.setEncryptedRooms !== undefined;
}

/** Keeps rooms until the process ends. @param onUse - called when the first room is kept */
function inMemory(onUse: () => void): RoomStore {
  const rooms = new RecentMap<string>(MAX_IN_MEMORY);
  return {
    getEncryptedRooms: async (roomIds) => {
      const known = roomIds.map((roomId) => [roomId, rooms.get(roomId)] as const);
      return new Map(known.filter((entry): entry is readonly [string, string] => entry[1] !== undefined));
    },
    setEncryptedRooms: async (added) => {
      if (rooms.size === 0) onUse();
      for (const [roomId, text] of added) rooms.set(roomId, text);
    },
  };
}
