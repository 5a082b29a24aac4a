import type { Credentials } from '../core/credentials.js';
import type { CheckpointChange, StoredCheckpoint } from './checkpoint.js';
import type { StoredDeadLetter, StoredError } from './dead-letter.js';
import type { EnqueueResult, OutgoingSend, QueuedSend, SendState } from './queued-send.js';

/**
 * Where the manager keeps what has to outlive a client, and with a persistent storage the process.
 *
 * Every method resolves when the change is as durable as the storage can make it, and changes take effect in the
 * order they were called in. Nothing is shared by reference with the caller. A failure rejects with code `STORAGE`
 * and leaves nothing half done. The storage contract suite in `matrix-client-manager/testing` checks implementations.
 */
export interface Storage extends AsyncDisposable {
  /** The credentials saved last for the user, or undefined. */
  getCredentials(userId: string): Promise<Credentials | undefined>;
  setCredentials(credentials: Credentials): Promise<void>;
  /** Forgets the user's credentials; resolves also where there were none. */
  deleteCredentials(userId: string): Promise<void>;

  /** All that `commit` stored for the user; empty for an unknown one. */
  loadCheckpoint(userId: string): Promise<StoredCheckpoint>;
  /** Applies the whole change or nothing of it. */
  commit(userId: string, change: CheckpointChange): Promise<void>;

  /** Keeps the letter, in the place of one with the same id. Beyond `storageLimits.deadLetters` the oldest go. */
  addDeadLetter(userId: string, letter: StoredDeadLetter): Promise<void>;
  /** The user's letters, oldest first. @param options.limit - how many at most, default 100 */
  listDeadLetters(userId: string, options?: { readonly limit?: number }): Promise<StoredDeadLetter[]>;
  /** Resolves to whether there was one. */
  deleteDeadLetter(userId: string, id: string): Promise<boolean>;

  /** Puts a send at the end of the queue, unless the user has one with that txnId in whatever state. */
  enqueueSend(userId: string, send: OutgoingSend): Promise<EnqueueResult>;
  /** Sends in the order they were enqueued in. @param filter.state - default `queued` @param filter.userId - default: of all users */
  listSends(filter?: { readonly userId?: string; readonly state?: SendState }): Promise<QueuedSend[]>;
  /** A queued or failed send has become an event. Resolves to false where there is no such send. */
  completeSend(userId: string, txnId: string, eventId: string): Promise<boolean>;
  /** A queued send failed for good. Resolves to false where there is no such send. */
  failSend(userId: string, txnId: string, error: StoredError): Promise<boolean>;
  /** Forgets a send in whatever state; resolves to whether there was one. */
  deleteSend(userId: string, txnId: string): Promise<boolean>;

  /** Forgets everything about the user. */
  deleteUser(userId: string): Promise<void>;
  /** Finishes what was called before, then lets go of files and timers. Idempotent; every later call rejects. */
  close(): Promise<void>;
}
