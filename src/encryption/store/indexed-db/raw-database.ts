import * as fakeIndexedDb from 'fake-indexeddb';

/** The parts of IndexedDB that are used here; the compiler has none of the browser's types. */
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

/** What fake-indexeddb's factory keeps inside. */
export interface RawFactory extends Factory {
  readonly _databases: Map<string, RawDatabase>;
  readonly _connectionQueues: Map<string, unknown>;
}

const fake = fakeIndexedDb as unknown as Record<string, object>;

/** What the SDK's WebAssembly looks for under global names besides `indexedDB`; without one it reads nothing. */
export const classes = {
  IDBCursor: fake['IDBCursor'],
  IDBCursorWithValue: fake['IDBCursorWithValue'],
  IDBDatabase: fake['IDBDatabase'],
  IDBKeyRange: fake['IDBKeyRange'],
  IDBOpenDBRequest: fake['IDBOpenDBRequest'],
  IDBRequest: fake['IDBRequest'],
  IDBVersionChangeEvent: fake['IDBVersionChangeEvent'],
};

export const { IDBFactory } = fakeIndexedDb as unknown as { readonly IDBFactory: new () => RawFactory };

/**
 * What lies behind the IndexedDB objects of fake-indexeddb 6.2.8, as far as it is touched here. None of it is public
 * there, so the version is pinned, and test/encryption/store/indexed-db/fake-indexeddb.test.ts fails on one that differs.
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

/** The records of a store. Every change goes through these methods, and so does taking one back. */
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
  /** Names of the stores that it may touch. No other transaction that writes touches them meanwhile. */
  readonly _scope: ReadonlySet<string>;
  /** Called with `complete` after the last request succeeded and before anybody hears of it. */
  dispatchEvent(event: { readonly type: string }): boolean;
  /** Takes all of the transaction's changes back, and then tells that it was aborted. */
  _abort(errorName: string): void;
}
