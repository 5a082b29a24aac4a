import { MatrixClientManagerError } from '../../core/errors.js';
import type { DeviceId } from './device-keys.js';
import type { Commit, Databases } from './indexed-db/databases.js';

export interface DeviceStoreOptions extends DeviceId {
  /** 32 bytes. */
  readonly storageKey: Uint8Array;
  /** How often the device's databases have changed so far. */
  readonly commits: number;
  readonly restorePending: boolean;
  /** Stores it; throws `STORAGE`. */
  readonly setRestorePending: (pending: boolean) => void;
  /** Makes changes durable, all or none. @returns how often they have changed with them */
  readonly commit: (changes: readonly Parameters<Commit>[]) => number;
  /** Called once when a change could not be made durable; the SDK's memory is then ahead of the disk. */
  readonly onFailure: (error: MatrixClientManagerError) => void;
  readonly onClose: () => void;
}

/**
 * The keys of one device while its client runs: what `initRustCrypto()` takes. After the first change that failed no
 * further one is taken, since what the SDK does next would build on what the disk does not have.
 */
export class DeviceStore {
  readonly userId: string;
  readonly deviceId: string;
  /** The SDK's own key for what it stores, 32 bytes. */
  readonly storageKey: Uint8Array;
  /** Whether nothing was ever stored: the SDK will make new keys. */
  readonly isNew: boolean;
  readonly #options: DeviceStoreOptions;
  #databases: Databases | undefined;
  #commits: number;
  #restorePending: boolean;
  #failure: MatrixClientManagerError | undefined;
  /** Changes that become durable together. */
  #held: Parameters<Commit>[] | undefined;
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

  /** Names nobody; another one each time the store is opened. */
  get cryptoDatabasePrefix(): string {
    return this.#databases?.prefix ?? '';
  }

  /** Whether the SDK has opened its databases here and not elsewhere. */
  get isUsed(): boolean {
    return (this.#databases?.opened ?? 0) > 0;
  }

  /** How often the keys have changed; a store in which it is lower than it once was has been rolled back. */
  get commits(): number {
    return this.#commits;
  }

  /** Why no change is taken any more. */
  get failure(): MatrixClientManagerError | undefined {
    return this.#failure;
  }

  /** Whether the key backup is still to be read into the device. Throws where that cannot be stored. */
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

  /** Takes one change of the SDK's; throws where it is not durable. */
  commit(...change: Parameters<Commit>): void {
    if (this.#closed) throw this.#closedError();
    if (this.#failure) throw this.#failure;
    if (this.#held) this.#held.push(change);
    else this.#write([change]);
  }

  /** Holds back the changes that come: until `release()`, nothing that rests on them may leave the process. */
  hold(): void {
    this.#held ??= [];
  }

  /** Makes what was held back durable, all or none; throws where it is not. */
  release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    if (this.#closed) throw this.#closedError();
    if (this.#failure) throw this.#failure;
    if (held.length > 0) this.#write(merged(held));
  }

  /** Lets go of the keys in memory. The client has to be stopped before: what it still does is refused. Idempotent. */
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

/** What changes come to: each record as it is in the end. */
function merged(changes: readonly Parameters<Commit>[]): readonly Parameters<Commit>[] {
  if (changes.some(([, { schema }]) => schema)) return changes;
  const byName = Map.groupBy(changes, ([name]) => name);
  return [...byName].map(([name, all]) => {
    const records = all.flatMap(([, change]) => change.records);
    return [name, { records: [...new Map(records.map((one) => [`${one.store}/${one.key}`, one])).values()] }];
  });
}
