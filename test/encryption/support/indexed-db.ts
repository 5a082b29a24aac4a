/** What tests use of the IndexedDB that an open device puts in place, as the SDK's WebAssembly finds it. */
export interface Db {
  readonly version: number;
  readonly objectStoreNames: Iterable<string>;
  createObjectStore(name: string): { createIndex(name: string, keyPath: string, options?: object): unknown };
  deleteObjectStore(name: string): void;
  transaction(stores: string | string[], mode?: 'readonly' | 'readwrite'): Tx;
  close(): void;
}

export interface Tx extends EventTarget {
  readonly error: Error | null;
  objectStore(name: string): DbStore;
  abort(): void;
}

export interface DbStore {
  put(value: unknown, key: string): Req<string>;
  get(key: string): Req<unknown>;
  delete(key: string | object): Req<undefined>;
  clear(): Req<undefined>;
  getAllKeys(): Req<string[]>;
  index(name: string): { getAllKeys(key: unknown): Req<string[]> };
}

export interface Req<T> extends EventTarget {
  readonly result: T;
  readonly error: Error | null;
}

interface Idb {
  open(name: string, version?: number): Req<Db>;
}

/** Opens `<prefix>::<name>`; `upgrade` runs where its version is lower. */
export async function openDb(prefix: string, upgrade: (db: Db) => void, version = 1, name = 'test'): Promise<Db> {
  const { indexedDB } = globalThis as unknown as { indexedDB: Idb };
  const request = indexedDB.open(`${prefix}::${name}`, version);
  request.addEventListener('upgradeneeded', () => upgrade(request.result));
  return resultOf(request);
}

export function resultOf<T>(request: Req<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.addEventListener('success', () => resolve(request.result));
    request.addEventListener('error', () => reject(request.error ?? new Error('no error')));
  });
}

/** Resolves when the transaction is complete, which is when the SDK goes on. */
export function completed(tx: Tx): Promise<void> {
  return new Promise((resolve, reject) => {
    tx.addEventListener('complete', () => resolve());
    tx.addEventListener('abort', () => reject(tx.error ?? new Error('aborted')));
  });
}

export async function put(db: Db, store: string, records: Readonly<Record<string, unknown>>): Promise<void> {
  const tx = db.transaction(store, 'readwrite');
  for (const [key, value] of Object.entries(records)) tx.objectStore(store).put(value, key);
  await completed(tx);
}

export async function contentOf(db: Db, store: string): Promise<Record<string, unknown>> {
  const tx = db.transaction(store);
  const keys = await resultOf(tx.objectStore(store).getAllKeys());
  const entries = keys.map(async (key) => [key, await resultOf(db.transaction(store).objectStore(store).get(key))]);
  return Object.fromEntries(await Promise.all(entries)) as Record<string, unknown>;
}
