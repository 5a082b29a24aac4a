import type { Credentials } from '../core/credentials.js';

/**
 * Where the manager keeps what has to outlive a client, and with a persistent storage the process.
 * Every method resolves when the change is as durable as the storage can make it.
 * Implementations are checked by the storage contract suite in `matrix-client-manager/testing`.
 */
export interface Storage extends AsyncDisposable {
  /** The credentials saved last for the user, or undefined. */
  getCredentials(userId: string): Promise<Credentials | undefined>;
  setCredentials(credentials: Credentials): Promise<void>;
  /** Forgets the user's credentials; resolves also where there were none. */
  deleteCredentials(userId: string): Promise<void>;
  /** Lets go of files and timers. Idempotent; every later call rejects with code `STORAGE`. */
  close(): Promise<void>;
}
