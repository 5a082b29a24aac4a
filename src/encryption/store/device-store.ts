import { MatrixClientManagerError } from '../../core/errors.js';
import type { DeviceId } from './device-keys.js';
import type { Commit, Databases } from './indexed-db/databases.js';

export interface DeviceStoreOptions extends DeviceId {
  /** The key that the SDK encrypts its records with, 32 bytes. */
  readonly storageKey: Uint8Array;
  /** Number of commits to the device's databases so far. */
  readonly commits: number;
  readonly restorePending: boolean;
  /** Stores `restorePending`. Throws `STORAGE`. */
  readonly setRestorePending: (pending: boolean) => void;
  /** Stores all changes in one transaction, or throws. @returns the number of commits, this one included */
  readonly commit: (changes: readonly Parameters<Commit>[]) => number;
  /** Called once when a change could not be stored: the SDK's memory then differs from the disk. */
  readonly onFailure: (error: MatrixClientManagerError) => void;
  readonly onClose: () => void;
}

/**
 * The keys of one device while its client runs, for `initRustCrypto()`. After a change that could not be stored, all
 * further changes are refused, because they would build on a state that is not on disk.
 */
export class DeviceStore {
  readonly userId: string;
  readonly deviceId: string;
  /** The key that the SDK encrypts its records with, 32 bytes. */
  readonly storageKey: Uint8Array;
  /** Whether the store had no keys of the device, so that the SDK creates new ones. */
  readonly isNew: boolean;
  readonly #options: DeviceStoreOptions;
  #databases: Databases | undefined;
  #commits: number;
  #restorePending: boolean;
  #failure: MatrixClientManagerError | undefined;
  /** Changes since `hold()`, which `release()` stores together. */
  #heldChanges: Parameters<Commit>[] | undefined;
  #closed = false;

  constructor(options: DeviceStoreOptions) {
    this.#options = options;
    this.userId = options.userId;
    this.deviceId = options.deviceId;
    this.storageKey = options.storageKey;
    this.isNew = options.commits === 0;
    this.#commits = options.commits;
    this.#restorePending = options.restorePending;
  }

  /** A random prefix, without the user's id. It differs each time the device is opened. */
  get cryptoDatabasePrefix(): string {
    return this.#databases?.prefix ?? '';
  }

  /** Whether the SDK has opened its databases in this store. */
  get isUsed(): boolean {
    return (this.#databases?.opened ?? 0) > 0;
  }

  /** Number of commits to the device's keys. If it is lower than before, the store has been rolled back. */
  get commits(): number {
    return this.#commits;
  }

  /** Why further changes are refused. */
  get failure(): MatrixClientManagerError | undefined {
    return this.#failure;
  }

  /** Whether the device still has to read the key backup. Setting it throws if it cannot be stored. */
  get restorePending(): boolean {
    return this.#restorePending;
  }

  set restorePending(pending: boolean) {
    if (this.#closed) throw this.#closedError();
    if (pending === this.#restorePending) return;
    this.#options.setRestorePending(pending);
    this.#restorePending = pending;
  }

  connect(databases: Databases): void {
    this.#databases = databases;
  }

  /** Stores one change of the SDK, or throws. After `hold()` the change waits for `release()`. */
  commit(...change: Parameters<Commit>): void {
    if (this.#closed) throw this.#closedError();
    if (this.#failure) throw this.#failure;
    if (this.#heldChanges) this.#heldChanges.push(change);
    else this.#write([change]);
  }

  /** Collects further changes until `release()`. Until then nothing that depends on them may leave the process. */
  hold(): void {
    this.#heldChanges ??= [];
  }

  /** Stores the collected changes in one transaction, or throws. */
  release(): void {
    const held = this.#heldChanges ?? [];
    this.#heldChanges = undefined;
    if (this.#closed) throw this.#closedError();
    if (this.#failure) throw this.#failure;
    if (held.length > 0) this.#write(mergeChanges(held));
  }

  /** Releases the keys in memory and refuses further changes. Stop the client first. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#databases?.close();
    this.storageKey.fill(0);
    this.#options.onClose();
  }

  #write(changes: readonly Parameters<Commit>[]): void {
    try {
      this.#commits = this.#options.commit(changes);
    } catch (error) {
      this.#failure = error as MatrixClientManagerError;
      this.#options.onFailure(this.#failure);
      throw error;
    }
  }

  #closedError(): MatrixClientManagerError {
    const { userId } = this;
    return new MatrixClientManagerError('ABORTED', `the crypto store of ${userId} is closed`, { userId });
  }
}

/** Keeps only the last change of each record. Changes of a schema are not merged. */
function mergeChanges(changes: readonly Parameters<Commit>[]): readonly Parameters<Commit>[] {
  if (changes.some(([, { schema }]) => schema)) return changes;
  const byName = Map.groupBy(changes, ([name]) => name);
  return [...byName].map(([name, all]) => {
    const records = all.flatMap(([, change]) => change.records);
    return [name, { records: [...new Map(records.map((one) => [`${one.store}/${one.key}`, one])).values()] }];
  });
}
