import { delay } from '../core/abort.js';
import type { Context } from '../core/context.js';
import { RecentIds } from '../core/recent-ids.js';
import { backoffMs } from '../http/retry.js';
import { storageLimits } from '../storage/storage.js';
import type { Storage } from '../storage/storage.js';

type OnceStore = Required<Pick<Storage, 'addOnceEvents' | 'findOnceEvents'>>;

/** How many keys are found without the storage: repetitions mostly arrive soon after the first. */
const IN_MEMORY = 20_000;
/** How many keys that could not be stored are kept, to be stored with a later one. */
const MAX_UNSTORED = 10_000;
const KEYS_PER_CALL = 500;
/** How often the storage is asked before an event is delivered although it may have been delivered before. */
const ATTEMPTS = 3;
const RETRY = { baseDelayMs: 1_000, maxDelayMs: 10_000 };

interface Find {
  readonly keys: Set<string>;
  readonly done: Promise<ReadonlySet<string>>;
}

/** The keys of events that callbacks with `once` have handled, for all users of the manager. */
export class OnceLog {
  readonly #context: Pick<Context, 'clock' | 'logger'>;
  readonly #store: OnceStore;
  readonly #recent = new RecentIds(IN_MEMORY);
  /** How many keys were added. */
  #added = 0;
  /** The next lookup in the storage. */
  #nextFind: Find | undefined;
  readonly #unstored = new RecentIds(MAX_UNSTORED);
  /** The running writes. */
  readonly #writes = new Set<Promise<void>>();

  constructor(context: Pick<Context, 'clock' | 'logger'>, storage: Storage) {
    this.#context = context;
    const warn = (): void =>
      context.logger.warn({}, 'the storage cannot remember events of `once`: a restart of the process forgets them');
    this.#store = remembersOnce(storage) ? storage : inMemory(warn);
  }

  /**
   * Looks the keys up, together with those that are looked up at the same time. Returns a function that tells whether one
   * of the keys was added, also since. It resolves to false after several failures of the storage, and when `signal`
   * fires.
   */
  lookUp(keys: readonly string[], signal: AbortSignal): () => Promise<boolean> {
    const isInMemory = (): boolean => keys.some((key) => this.#recent.has(key) || this.#unstored.has(key));
    if (isInMemory()) return async () => true;
    const asked = { stored: this.#findSoon(keys), added: this.#added };
    asked.stored.catch(() => {}); // handled below
    return async () => {
      if (isInMemory()) return true;
      // More keys were added than are kept in memory: this one may have been among them.
      const isOutdated = this.#added - asked.added > IN_MEMORY;
      return this.#hasAny(keys, isOutdated ? this.#findSoon(keys) : asked.stored, signal);
    };
  }

  /**
   * Adds a key. The storage is called at once, so that it stores the key before a position that is committed later.
   * Resolves after one attempt; keys that could not be stored are stored with the next one.
   */
  add(key: string): Promise<void> {
    this.#added++;
    this.#recent.add(key);
    this.#unstored.add(key);
    return this.#write();
  }

  /** Resolves when the keys are stored, or one more attempt has failed. */
  async settled(): Promise<void> {
    await Promise.all(this.#writes);
    if (this.#unstored.size > 0) await this.#write();
  }

  async #hasAny(keys: readonly string[], asked: Promise<ReadonlySet<string>>, signal: AbortSignal): Promise<boolean> {
    let found = asked;
    for (let failures = 1; ; failures++) {
      try {
        const stored = await found;
        return keys.some((key) => stored.has(key));
      } catch {
        if (failures === ATTEMPTS) return false;
        const waited = delay(this.#context.clock, backoffMs(failures, RETRY), signal, 'looking up an event');
        if (!(await waited.then(() => true).catch(() => false))) return false;
        found = this.#findSoon(keys);
      }
    }
  }

  /** Resolves to the stored ones among these keys and those that are looked up at the same time. */
  #findSoon(keys: readonly string[]): Promise<ReadonlySet<string>> {
    if (!this.#nextFind || this.#nextFind.keys.size >= KEYS_PER_CALL) this.#nextFind = this.#startFind();
    for (const key of keys) this.#nextFind.keys.add(key);
    return this.#nextFind.done;
  }

  #startFind(): Find {
    const keys = new Set<string>();
    const find = async (): Promise<ReadonlySet<string>> => {
      await Promise.resolve();
      if (this.#nextFind?.keys === keys) this.#nextFind = undefined;
      try {
        return new Set(await this.#store.findOnceEvents([...keys]));
      } catch (error) {
        this.#context.logger.error({ err: error }, 'looking up events of `once` failed');
        throw error;
      }
    };
    return { keys, done: find() };
  }

  #write(): Promise<void> {
    const keys = [...this.#unstored];
    this.#unstored.clear();
    const write = this.#store
      .addOnceEvents(keys, storageLimits.onceEvents)
      .catch((error: unknown) => {
        for (const key of keys) this.#unstored.add(key);
        this.#context.logger.error(
          { err: error },
          'remembering an event of `once` failed; it is stored with the next one',
        );
      })
      .finally(() => this.#writes.delete(write));
    this.#writes.add(write);
    return write;
  }
}

function remembersOnce(storage: Storage): storage is Storage & OnceStore {
  return storage.addOnceEvents !== undefined && storage.findOnceEvents !== undefined;
}

/** Keeps the keys until the process ends. @param onUse - called when the first key is kept */
function inMemory(onUse: () => void): OnceStore {
  const kept = new RecentIds(storageLimits.onceEvents);
  return {
    findOnceEvents: async (keys) => keys.filter((key) => kept.has(key)),
    addOnceEvents: async (keys) => {
      if (kept.size === 0) onUse();
      for (const key of keys) kept.add(key);
    },
  };
}
