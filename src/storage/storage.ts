import type { Credentials } from '../core/credentials.js';
import type { Claim } from '../core/ports/claim.js';
import type { CheckpointChange, StoredCheckpoint } from './checkpoint.js';

/**
 * Stores the data that must outlive a client and, with a persistent storage, the process.
 *
 * A method resolves when its change is as durable as the storage can make it. Changes take effect in the order of the
 * calls. No object is shared by reference with the caller. A failed method rejects with code `STORAGE` and has changed
 * nothing. The storage contract suite in `matrix-client-manager/testing` checks implementations.
 */
export interface Storage extends AsyncDisposable {
  /** The stored credentials of the user, or undefined. */
  getCredentials(userId: string): Promise<Credentials | undefined>;
  setCredentials(credentials: Credentials): Promise<void>;
  /** Deletes the user's credentials. Also resolves if there are none. */
  deleteCredentials(userId: string): Promise<void>;

  /** All data that `commit` has stored for the user. Empty for an unknown user. */
  loadCheckpoint(userId: string): Promise<StoredCheckpoint>;
  /**
   * Applies the change completely, or not at all.
   * @param claim - of the client that stores the change. A storage that several processes use rejects the change with
   *   `OWNED_ELSEWHERE` if another process has taken the user since; other storages ignore it.
   */
  commit(userId: string, change: CheckpointChange, claim?: Claim): Promise<void>;

  /** Stores the letter; replaces one with the same id. Beyond `storageLimits.deadLetters` the oldest are deleted. @param claim - as in `commit()` */
  addDeadLetter(userId: string, letter: StoredDeadLetter, claim?: Claim): Promise<void>;
  /** The user's dead letters, oldest first. @param options.limit - maximum number, default 100 */
  listDeadLetters(userId: string, options?: { readonly limit?: number }): Promise<StoredDeadLetter[]>;
  /** Deletes a dead letter. Resolves to whether it existed. */
  deleteDeadLetter(userId: string, id: string): Promise<boolean>;

  /** Appends a send to the queue, unless the user already has a send with that `txnId`, in any state. */
  enqueueSend(userId: string, send: OutgoingSend): Promise<EnqueueResult>;
  /** Queued sends as enqueued, failed and sent ones as settled, oldest first. @param filter.state - default `queued` @param filter.userId - default all users */
  listSends(filter?: { readonly userId?: string; readonly state?: SendState }): Promise<QueuedSend[]>;
  /** Marks a queued or failed send as sent. Resolves to false if there is no such send. */
  completeSend(userId: string, txnId: string, eventId: string): Promise<boolean>;
  /** Marks a queued send as permanently failed. Resolves to false if there is no such send. */
  failSend(userId: string, txnId: string, error: StoredError): Promise<boolean>;
  /** Deletes a send in any state. Resolves to whether it existed. */
  deleteSend(userId: string, txnId: string): Promise<boolean>;

  /**
   * The texts that {@link setEncryptedRooms} has stored for these rooms; rooms without one are left out. A room whose text
   * is damaged must be returned with any text. Optional, together with `setEncryptedRooms`: without the two, rooms that
   * were seen encrypted are remembered until the process ends.
   */
  getEncryptedRooms?(roomIds: readonly string[]): Promise<ReadonlyMap<string, string>>;
  /**
   * Stores a text for each room, room id to text; replaces earlier ones. The rooms belong to no user: nothing deletes them,
   * not even `deleteUser()`.
   */
  setEncryptedRooms?(rooms: ReadonlyMap<string, string>): Promise<void>;

  /**
   * Adds keys of events that callbacks with `once` have handled. They are short, opaque, and belong to no user: not even
   * `deleteUser()` deletes them. Of many keys the oldest are deleted: at least the `limit` newest stay, and at most a
   * hundredth more. Optional, together with `findOnceEvents`: without the two, the keys are remembered until the process
   * ends.
   */
  addOnceEvents?(keys: readonly string[], limit: number): Promise<void>;
  /** Those of these keys that {@link addOnceEvents} has added. */
  findOnceEvents?(keys: readonly string[]): Promise<readonly string[]>;

  /** Deletes all data of the user. */
  deleteUser(userId: string): Promise<void>;
  /** Completes pending calls, then releases files and timers. Idempotent. Every later call of another method rejects. */
  close(): Promise<void>;
}

/** An event that a callback failed to handle in all of its attempts. */
export interface StoredDeadLetter {
  /** Unique per user. Derived from the event, so that adding a dead letter again after a crash replaces it. */
  readonly id: string;
  /** The event as JSON text, opaque to the storage. */
  readonly event: string;
  readonly error: StoredError;
  /** Milliseconds since the Unix epoch. */
  readonly failedAt: number;
  readonly attempts: number;
}

/** The stored form of an error, without fields that could contain a secret. */
export interface StoredError {
  readonly name: string;
  readonly message: string;
  readonly code?: string;
}

/** A message that was accepted for durable sending. */
export interface OutgoingSend {
  /** Unique per user. The homeserver and the queue detect duplicates by it. */
  readonly txnId: string;
  readonly roomId: string;
  /** Event type, such as `m.room.message`. */
  readonly type: string;
  /** The event's content as JSON text, opaque to the storage. */
  readonly content: string;
  /** Milliseconds since the Unix epoch. */
  readonly enqueuedAt: number;
}

/** A durable send and its state. The content of a sent message is not stored. */
export type QueuedSend =
  | (OutgoingSend & { readonly userId: string; readonly state: 'queued' })
  | (OutgoingSend & { readonly userId: string; readonly state: 'failed'; readonly error: StoredError })
  | (Omit<OutgoingSend, 'content'> & { readonly userId: string; readonly state: 'sent'; readonly eventId: string });

export type SendState = QueuedSend['state'];

/** The result of `enqueueSend`. If the user already has a send with the `txnId`, `added` is false and `send` is that one. */
export interface EnqueueResult {
  readonly added: boolean;
  readonly send: QueuedSend;
}

/** The maximum number of records that a storage keeps, per user unless stated otherwise. Beyond a limit the oldest records are deleted. */
export const storageLimits = {
  /** Handled events that are newer than the stored sync token. */
  journalEntries: 10_000,
  deadLetters: 1_000,
  /** Sent and failed sends, each with their own limit, by the time they settled. Queued sends are never deleted. */
  settledSends: 200,
  /** Events that callbacks with `once` have handled, of all users together. */
  onceEvents: 200_000,
} as const;

/** How many dead letters are listed by default. */
export const defaultDeadLetterLimit = 100;
