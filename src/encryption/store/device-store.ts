import { hkdfSync } from 'node:crypto';
import { isManagerError, MatrixClientManagerError } from '../../core/errors.js';
import type { DeviceHandle, KeyChange } from '../../core/ports/key-store.js';
import type { Databases } from './indexed-db/databases.js';
import { storageError } from './key-failures.js';
import { sdkStorageKey } from './sdk-sealing.js';

export interface DeviceStoreOptions {
  readonly handle: Omit<DeviceHandle, 'databases'>;
  /** Whether the SDK encrypts the records of this device, before the store encrypts them again. */
  readonly sealedBySdk: boolean;
  /** Like `handle.commit()`. It resolves to the next value of {@link DeviceStore.commits}. */
  readonly commit: DeviceHandle['commit'];
  /**
   * Called once when a change could not be stored, so that the SDK's memory differs from the disk, or when a record of
   * received messages could not be read.
   */
  readonly onFailure: (error: MatrixClientManagerError) => void;
  /** Called for a side record that was altered. It counts as missing. */
  readonly onDamagedRecord: (error: MatrixClientManagerError) => void;
  /** Called once, when the store begins to close. @param closed - settles as `close()` does */
  readonly onClose: (closed: Promise<void>) => void;
}

/**
 * The keys of one device while its client runs, for `initRustCrypto()`. After a change that could not be stored, all
 * further changes are refused, because they would build on a state that is not on disk.
 */
export class DeviceStore {
  readonly userId: string;
  readonly deviceId: string;
  /** The key that the SDK encrypts its records with, 32 bytes; undefined if only the store encrypts them. */
  readonly storageKey: Uint8Array | undefined;
  /** Whether the store had no keys of the device when it was opened, so that the SDK creates new ones. */
  readonly wasNew: boolean;
  readonly #options: DeviceStoreOptions;
  /** A key for the hashes of the ids of received events. */
  readonly receivedKey: Uint8Array;
  #databases: Databases | undefined;
  #commits: number;
  #restorePending: boolean;
  #failure: MatrixClientManagerError | undefined;
  /** Changes that `flush()` stores together. */
  #collected: KeyChange[] = [];
  /** Calls of `collect()` without their `endCollecting()`. */
  #collectors = 0;
  /** The last commit, until it has ended. The earlier ones end before it. */
  #lastCommit: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: DeviceStoreOptions) {
    const { userId, deviceId, key, commits, restorePending } = options.handle;
    this.#options = options;
    this.userId = userId;
    this.deviceId = deviceId;
    this.storageKey = options.sealedBySdk ? sdkStorageKey(key) : undefined;
    this.receivedKey = new Uint8Array(hkdfSync('sha256', key, '', 'received event ids', 32));
    this.wasNew = commits === 0;
    this.#commits = commits;
    this.#restorePending = restorePending;
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

  /** Whether a restore from the key backup was started and has not ended. False before the first one. */
  get restorePending(): boolean {
    return this.#restorePending;
  }

  /** Resolves when the change is stored. */
  async setRestorePending(pending: boolean): Promise<void> {
    if (this.#closing) throw this.#closedError();
    if (pending === this.#restorePending) return;
    await this.#options.handle.setRestorePending(pending);
    this.#restorePending = pending;
  }

  /**
   * Like `readSideRecord()` of the device's handle, but an altered record counts as missing: otherwise all messages that
   * belong to it would be lost. After another failure all further changes are refused, so that the client restarts.
   */
  async readSideRecord(name: string): Promise<Uint8Array | undefined> {
    this.#assertUsable();
    try {
      return await this.#options.handle.readSideRecord(name);
    } catch (error) {
      if (this.#closing) throw error;
      if (!isManagerError(error, 'ENCRYPTION_STORE_DAMAGED'))
        throw this.#fail(storageError(this.userId, 'be read', error));
      this.#options.onDamagedRecord(error);
      return undefined;
    }
  }

  /** Like `writeSideRecord()` of the device's handle. After a failure all further changes are refused. */
  async writeSideRecord(name: string, record: Uint8Array): Promise<void> {
    this.#assertUsable();
    try {
      await this.#options.handle.writeSideRecord(name, record);
    } catch (error) {
      if (this.#closing) throw error;
      throw this.#fail(storageError(this.userId, 'be stored', error));
    }
  }

  connect(databases: Databases): void {
    this.#databases = databases;
  }

  /**
   * Stores one change of the SDK. Throws if changes are refused. Returns undefined between `collect()` and
   * `endCollecting()`: the change then waits for `flush()`.
   */
  commit(...change: KeyChange): Promise<void> | undefined {
    this.#assertUsable();
    if (this.#collectors === 0) return this.#store([change]);
    this.#collected.push(change);
    return undefined;
  }

  /** Collects changes until `endCollecting()`, which is called as often. */
  collect(): void {
    this.#collectors++;
  }

  /** {@link flush} stores what was collected, if another caller of `collect()` does not need it to wait. */
  endCollecting(): void {
    this.#collectors--;
  }

  /**
   * Stores the collected changes in one transaction. Resolves when all changes up to now are durable; undefined if they
   * already are. Nothing that depends on the changes may leave the process before. Rejects if a change could not be
   * stored, and after `close()`, which drops the collected changes.
   */
  flush(): Promise<void> | undefined {
    const refusal = this.#failure ?? (this.#closing && this.#closedError());
    if (refusal) return Promise.reject(refusal);
    return this.#collected.length > 0 ? this.#store(this.#collected.splice(0)) : this.#lastCommit;
  }

  /**
   * Erases the keys in memory and refuses further changes immediately. Resolves when the running commits have ended and
   * the device may be opened again. Stop the client first. Idempotent.
   */
  close(): Promise<void> {
    if (!this.#closing) {
      this.#closing = this.#close();
      this.#options.onClose(this.#closing);
    }
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#databases?.close();
    this.storageKey?.fill(0);
    await Promise.allSettled([this.#lastCommit]);
    await this.#options.handle.release();
  }

  #store(changes: readonly KeyChange[]): Promise<void> {
    const commit = this.#options.commit(changes).then(
      (commits) => {
        this.#commits = commits;
      },
      (error: unknown) => {
        throw this.#fail(error as MatrixClientManagerError);
      },
    );
    this.#lastCommit = commit;
    const end = (): void => {
      if (this.#lastCommit === commit) this.#lastCommit = undefined;
    };
    commit.then(end, end);
    return commit;
  }

  #fail(error: MatrixClientManagerError): MatrixClientManagerError {
    if (!this.#failure) {
      this.#failure = error;
      this.#options.onFailure(error);
    }
    return this.#failure;
  }

  #assertUsable(): void {
    if (this.#closing) throw this.#closedError();
    if (this.#failure) throw this.#failure;
  }

  #closedError(): MatrixClientManagerError {
    const { userId } = this;
    return new MatrixClientManagerError('ABORTED', `the crypto store of ${userId} is closed`, { userId });
  }
}
