import type { Credentials } from '../core/credentials.js';
import type { Claim } from '../core/ports/claim.js';
import type { CheckpointChange, StoredCheckpoint } from './checkpoint.js';
import type { StoredDeadLetter, StoredError } from './dead-letter.js';
import type { EnqueueResult, OutgoingSend, QueuedSend, SendState } from './queued-send.js';

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

  /** Deletes all data of the user. */
  deleteUser(userId: string): Promise<void>;
  /** Completes pending calls, then releases files and timers. Idempotent. Every later call of another method rejects. */
  close(): Promise<void>;
}
