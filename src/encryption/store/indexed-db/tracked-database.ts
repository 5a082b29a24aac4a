import type { RawDatabase, RawRecord, RawStore, RawTransaction } from './raw-database.js';

/** The shape of a database, enough to make it again. */
export interface DatabaseSchema {
  readonly version: number;
  readonly stores: readonly {
    readonly name: string;
    readonly keyPath: string | string[] | null;
    readonly indexes: readonly {
      readonly name: string;
      readonly keyPath: string | string[];
      readonly multiEntry: boolean;
      readonly unique: boolean;
    }[];
  }[];
}

export interface RecordChange {
  readonly store: string;
  readonly key: string;
  /** The value it has now; absent where the record is gone. */
  readonly present?: { readonly value: unknown };
}

/** What one transaction has changed. With a `schema`, `records` is all that the database holds. */
export interface DatabaseChange {
  readonly schema?: DatabaseSchema;
  readonly records: readonly RecordChange[];
}

/**
 * Watches a database from inside: hands over what each transaction has changed before anybody hears that it is
 * complete. Where `commit` throws, the transaction is aborted, so that memory is as the disk is.
 *
 * Only objects of this database are touched, none of the prototypes that an application may share with us.
 */
export class TrackedDatabase {
  readonly #raw: RawDatabase;
  readonly #commit: (change: DatabaseChange) => void;
  /** Keys whose records may differ from what was committed last; a rolled-back change leaves its key here. */
  readonly #changed = new Map<RawStore, Set<string>>();
  #watching = false;
  #isStored: boolean;

  /** @param isStored - whether the disk has it, in whatever version */
  constructor(raw: RawDatabase, commit: (change: DatabaseChange) => void, isStored: boolean) {
    this.#raw = raw;
    this.#commit = commit;
    this.#isStored = isStored;
    const { rawObjectStores: stores, transactions } = raw;
    stores.set = (name, store) => {
      this.#track(store);
      return Map.prototype.set.call(stores, name, store) as typeof stores;
    };
    transactions.push = (...added) => {
      for (const transaction of added) this.#hold(transaction);
      return Array.prototype.push.apply(transactions, added);
    };
  }

  /** What happened before is what the disk has. */
  watch(): void {
    this.#changed.clear();
    this.#watching = true;
  }

  /** Lets go of the memory, even where somebody keeps a connection. */
  drop(): void {
    for (const { records } of this.#raw.rawObjectStores.values()) records.clear();
    this.#changed.clear();
  }

  #track(store: RawStore): void {
    const { records } = store;
    const put = records.put.bind(records);
    const remove = records.delete.bind(records);
    const clear = records.clear.bind(records);
    const note = (changed: readonly RawRecord[]): void => {
      if (!this.#watching) return;
      const keys = this.#changed.get(store) ?? new Set();
      for (const { key } of changed) keys.add(asKey(key));
      this.#changed.set(store, keys);
    };
    records.put = (record, noOverwrite) => {
      note([record]);
      return put(record, noOverwrite);
    };
    records.delete = (key) => {
      const deleted = remove(key);
      note(deleted);
      return deleted;
    };
    records.clear = () => {
      const deleted = clear();
      note(deleted);
      return deleted;
    };
  }

  #hold(transaction: RawTransaction): void {
    if (transaction.mode === 'readonly') return;
    const dispatchEvent = transaction.dispatchEvent.bind(transaction);
    transaction.dispatchEvent = (event) => {
      if (event.type !== 'complete' || !this.#watching) return dispatchEvent(event);
      try {
        this.#commitOf(transaction);
      } catch {
        transaction._abort('QuotaExceededError'); // why it failed was told by who threw
        return true;
      }
      return dispatchEvent(event);
    };
  }

  #commitOf({ mode, _scope: scope }: RawTransaction): void {
    const stores = [...this.#raw.rawObjectStores.values()];
    if (mode === 'versionchange' || !this.#isStored) {
      const records = stores.flatMap((store) => allOf(store));
      // A new one is made in many versions; until it has a record, a kill loses nothing that would not be made again.
      if (records.length > 0 || this.#isStored) {
        this.#commit({ schema: this.#schema(stores), records });
        this.#isStored = true;
      }
      this.#changed.clear();
      return;
    }
    const touched = stores.filter((store) => scope.has(store.name) && this.#changed.has(store));
    const records = touched.flatMap((store) =>
      [...(this.#changed.get(store) ?? [])].map((key) => changeOf(store, key)),
    );
    if (records.length === 0) return;
    this.#commit({ records });
    for (const store of touched) this.#changed.delete(store);
  }

  #schema(stores: readonly RawStore[]): DatabaseSchema {
    return {
      version: this.#raw.version,
      stores: stores.map(({ name, keyPath, autoIncrement, rawIndexes }) => {
        if (autoIncrement) throw new Error(`the crypto store cannot keep the key generator of ${name}`);
        const indexes = [...rawIndexes.values()].map(({ name, keyPath, multiEntry, unique }) => {
          return { name, keyPath, multiEntry, unique };
        });
        return { name, keyPath, indexes };
      }),
    };
  }
}

function changeOf(store: RawStore, key: string): RecordChange {
  const record = store.records.get(key);
  return { store: store.name, key, ...(record && { present: { value: record.value } }) };
}

function allOf(store: RawStore): RecordChange[] {
  return [...store.records.values()].map(({ key, value }) => ({
    store: store.name,
    key: asKey(key),
    present: { value },
  }));
}

/** The SDK's keys are strings, all of them; another kind could not be told apart on disk. */
function asKey(key: unknown): string {
  if (typeof key !== 'string') throw new TypeError(`the crypto store keeps records under strings, not ${typeof key}`);
  return key;
}
