import type { DatabaseChange, DatabaseSchema, RecordChange } from '../../../core/ports/key-store.js';
import type { RawDatabase, RawRecord, RawStore, RawTransaction } from './raw-database.js';

/** Stores a change. Throws if it refuses the change. Returns undefined if the transaction may complete at once. */
type CommitChange = (change: DatabaseChange) => Promise<void> | undefined;

/**
 * Passes the changes of each transaction to `commit`. If that returns a promise, completes the transaction when it has
 * resolved: until then other transactions on the same object stores wait. If `commit` throws or rejects, the transaction
 * is aborted, so that memory and disk stay equal.
 *
 * Wraps methods of this database's own objects only, because an application may use the same prototypes.
 */
export class TrackedDatabase {
  readonly #raw: RawDatabase;
  readonly #commit: CommitChange;
  /** Keys whose records may differ from the last commit. A rolled-back change leaves its key here. */
  readonly #changed = new Map<RawStore, Set<string>>();
  #watching = false;
  #isStored: boolean;

  /** @param isStored - whether any version of the database is on disk */
  constructor(raw: RawDatabase, commit: CommitChange, isStored: boolean) {
    this.#raw = raw;
    this.#commit = commit;
    this.#isStored = isStored;
    const { rawObjectStores: stores, transactions } = raw;
    stores.set = (name, store) => {
      this.#trackStore(store);
      return Map.prototype.set.call(stores, name, store) as typeof stores;
    };
    transactions.push = (...added) => {
      for (const transaction of added) this.#commitBeforeComplete(transaction);
      return Array.prototype.push.apply(transactions, added);
    };
  }

  /** Starts tracking. The present content is the content on disk. */
  watch(): void {
    this.#changed.clear();
    this.#watching = true;
  }

  /** Frees the records, even if a connection is still open. */
  drop(): void {
    for (const { records } of this.#raw.rawObjectStores.values()) records.clear();
    this.#changed.clear();
  }

  #trackStore(store: RawStore): void {
    const { records } = store;
    const put = records.put.bind(records);
    const remove = records.delete.bind(records);
    const clear = records.clear.bind(records);
    const addChangedKeys = (changed: readonly RawRecord[]): void => {
      if (!this.#watching) return;
      const keys = this.#changed.get(store) ?? new Set();
      for (const { key } of changed) keys.add(asKey(key));
      this.#changed.set(store, keys);
    };
    records.put = (record, noOverwrite) => {
      addChangedKeys([record]);
      return put(record, noOverwrite);
    };
    records.delete = (key) => {
      const deleted = remove(key);
      addChangedKeys(deleted);
      return deleted;
    };
    records.clear = () => {
      const deleted = clear();
      addChangedKeys(deleted);
      return deleted;
    };
  }

  #commitBeforeComplete(transaction: RawTransaction): void {
    if (transaction.mode === 'readonly') return;
    const dispatchEvent = transaction.dispatchEvent.bind(transaction);
    transaction.dispatchEvent = (event) => {
      if (event.type !== 'complete' || !this.#watching) return dispatchEvent(event);
      let stored: Promise<void> | undefined;
      try {
        stored = this.#commitChanges(transaction);
      } catch {
        transaction._abort('QuotaExceededError'); // `commit` has reported the error
        return true;
      }
      if (!stored) return dispatchEvent(event);
      // It was already marked as finished, so it will be removed from the list once. With a second entry it stays there.
      transaction._state = 'committing';
      Array.prototype.push.call(this.#raw.transactions, transaction);
      stored.then(
        () => {
          transaction._markFinished();
          dispatchEvent(event);
        },
        () => transaction._abort('QuotaExceededError'),
      );
      return true;
    };
  }

  /** Also forgets the changed keys, except where `commit` throws and the transaction is taken back. */
  #commitChanges({ mode, _scope: scope }: RawTransaction): Promise<void> | undefined {
    const stores = [...this.#raw.rawObjectStores.values()];
    if (mode === 'versionchange' || !this.#isStored) {
      const records = stores.flatMap((store) => allRecords(store));
      // The SDK creates a database in many versions. Without a record there is nothing to lose in a crash.
      const isNeeded = records.length > 0 || this.#isStored;
      const stored = isNeeded ? this.#commit({ schema: this.#schema(stores), records }) : undefined;
      this.#isStored = isNeeded;
      this.#changed.clear();
      return stored;
    }
    const touched = stores.filter((store) => scope.has(store.name) && this.#changed.has(store));
    const records = touched.flatMap((store) =>
      [...(this.#changed.get(store) ?? [])].map((key) => changeOf(store, key)),
    );
    if (records.length === 0) return undefined;
    const stored = this.#commit({ records });
    for (const store of touched) this.#changed.delete(store);
    return stored;
  }

  #schema(stores: readonly RawStore[]): DatabaseSchema {
    return {
      version: this.#raw.version,
      stores: stores.map(({ name, keyPath, autoIncrement, rawIndexes }) => {
        if (autoIncrement)
          throw new Error(`the crypto store does not support autoIncrement, which the object store ${name} uses`);
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

function allRecords(store: RawStore): RecordChange[] {
  return [...store.records.values()].map(({ key, value }) => ({
    store: store.name,
    key: asKey(key),
    present: { value },
  }));
}

/** All keys of the SDK are strings. On disk, keys of other types could not be distinguished from them. */
function asKey(key: unknown): string {
  if (typeof key !== 'string') throw new TypeError(`the crypto store supports only string keys, got ${typeof key}`);
  return key;
}
