import * as fakeIndexedDb from 'fake-indexeddb';

/** The parts of IndexedDB that are used here. The browser's types are not part of this project. */
export interface Factory {
  open(name: string, version?: number): OpenRequest;
  deleteDatabase(name: string): OpenRequest;
  databases(): Promise<{ name?: string; version?: number }[]>;
}

export interface OpenRequest {
  readonly result: Connection;
  readonly error: Error | null;
  addEventListener(type: 'upgradeneeded' | 'success' | 'error', listener: () => void): void;
}

export interface Connection {
  createObjectStore(name: string, options: { keyPath: string | string[] | null }): Store;
  close(): void;
}

export interface Store {
  createIndex(name: string, keyPath: string | string[], options: { multiEntry: boolean; unique: boolean }): unknown;
}

/** Internal members of fake-indexeddb's factory. */
export interface RawFactory extends Factory {
  readonly _databases: Map<string, RawDatabase>;
  readonly _connectionQueues: Map<string, unknown>;
}

const fakeClasses = fakeIndexedDb as unknown as Record<string, object>;

/** The globals besides `indexedDB` that the SDK's WebAssembly needs to read a database. */
export const indexedDbClasses = {
  IDBCursor: fakeClasses['IDBCursor'],
  IDBCursorWithValue: fakeClasses['IDBCursorWithValue'],
  IDBDatabase: fakeClasses['IDBDatabase'],
  IDBKeyRange: fakeClasses['IDBKeyRange'],
  IDBOpenDBRequest: fakeClasses['IDBOpenDBRequest'],
  IDBRequest: fakeClasses['IDBRequest'],
  IDBVersionChangeEvent: fakeClasses['IDBVersionChangeEvent'],
};

export const { IDBFactory } = fakeIndexedDb as unknown as { readonly IDBFactory: new () => RawFactory };

/**
 * The internal objects of fake-indexeddb 6.2.8, as far as they are used here. They are not public, so the version is
 * pinned, and test/encryption/store/indexed-db/fake-indexeddb.test.ts fails on a version that differs.
 */
export interface RawDatabase {
  readonly name: string;
  readonly version: number;
  readonly rawObjectStores: Map<string, RawStore>;
  readonly transactions: RawTransaction[];
}

export interface RawStore {
  readonly name: string;
  readonly keyPath: string | string[] | null;
  readonly autoIncrement: boolean;
  readonly records: RawRecords;
  readonly rawIndexes: ReadonlyMap<string, RawIndex>;
  storeRecord(record: RawRecord, noOverwrite: boolean): unknown;
}

/** The records of a store. All changes and their rollbacks call these methods. */
export interface RawRecords {
  get(key: unknown): RawRecord | undefined;
  put(record: RawRecord, noOverwrite?: boolean): RawRecord | undefined;
  delete(key: unknown): RawRecord[];
  clear(): RawRecord[];
  values(): Iterable<RawRecord>;
}

export interface RawRecord {
  readonly key: unknown;
  readonly value: unknown;
}

export interface RawIndex {
  readonly name: string;
  readonly keyPath: string | string[];
  readonly multiEntry: boolean;
  readonly unique: boolean;
}

export interface RawTransaction {
  readonly mode: 'readonly' | 'readwrite' | 'versionchange';
  /** Names of the stores that it may change. No other writing transaction uses them at the same time. */
  readonly _scope: ReadonlySet<string>;
  /** Other transactions on its stores wait while it is in the list of transactions and not `finished`. */
  _state: 'active' | 'inactive' | 'committing' | 'finished';
  /** Called with `complete` after the last request succeeded, before any listener runs. */
  dispatchEvent(event: { readonly type: string }): boolean;
  /** Sets the state, and removes one entry of it from the list of transactions in a later turn of the event loop. */
  _markFinished(): void;
  /** Rolls back all changes of the transaction, calls `_markFinished()`, then dispatches `abort`. */
  _abort(errorName: string): void;
}
