/** The kind of a record. The kind of a send is its state. */
export type RecordKind =
  | 'credentials'
  | 'since'
  | 'clientSince'
  | 'accountData'
  | 'room'
  | 'delivered'
  | 'journal'
  | 'deadLetter'
  | 'queued'
  | 'failed'
  | 'sent'
  | 'encryptedRoom'
  | 'onceEvent';

export interface StoredRecord {
  readonly key: string;
  readonly value: string;
}

/** For each user and kind, a map of keys to values, in the order in which keys were added. */
export interface Records {
  get(userId: string, kind: RecordKind, key?: string): string | undefined;
  /** Whether there is a record, even a damaged one. */
  has(userId: string, kind: RecordKind, key: string): boolean;
  /** Adds or replaces a value. A replaced value keeps its place in the order. */
  put(userId: string, kind: RecordKind, key: string, value: string): void;
  /** Adds a key without a value, unless the key exists. */
  add(userId: string, kind: RecordKind, key: string): void;
  /** @returns whether the record existed */
  delete(userId: string, kind: RecordKind, key?: string): boolean;
  deleteKind(userId: string, kind: RecordKind): void;
  deleteUser(userId: string): void;
  /** The user's records of a kind in order. @param limit - how many at most. @default all */
  list(userId: string, kind: RecordKind, limit?: number): StoredRecord[];
  /** The records of a kind of all users, in the order in which they were added. */
  listOfAllUsers(kind: 'queued' | 'failed' | 'sent'): StoredRecord[];
  /** Deletes all but the newest `limit` records of a kind. */
  trim(userId: string, kind: RecordKind, limit: number): void;
}
