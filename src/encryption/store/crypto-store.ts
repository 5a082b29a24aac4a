import type { Clock } from '../../core/clock.js';
import { isManagerError, MatrixClientManagerError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { checkArgument } from '../../core/validation.js';
import { fileOptions } from '../../storage/sqlite-storage-options.js';
import { createKeyring } from '../../storage/sqlite/keyring.js';
import type { OpenDatabase } from '../../storage/sqlite/open-database.js';
import { inTransaction, openDatabase } from '../../storage/sqlite/open-database.js';
import { storageError } from '../../storage/sqlite/sqlite-errors.js';
import { Vault } from '../../storage/sqlite/vault.js';
import { closedError } from '../../storage/storage-errors.js';
import { CounterFile } from './counter-file.js';
import { CryptoFile, cryptoLayout } from './crypto-file.js';
import type { DeviceRow } from './crypto-file.js';
import type { CryptoStoreOptions, NormalizedCryptoStoreOptions } from '../crypto-store-options.js';
import { normalizeCryptoStoreOptions } from '../crypto-store-options.js';
import type { DeviceId } from './device-keys.js';
import {
  createDeviceKey,
  damagedError,
  DeviceRecords,
  sdkStorageKey,
  unwrapDeviceKey,
  wrapDeviceKey,
} from './device-keys.js';
import { DeviceStore } from './device-store.js';
import type * as DatabasesModule from './indexed-db/databases.js';

export interface OpenUserOptions extends DeviceId {
  /**
   * Whether the device may start with new keys although the store has keys of another device of the user. Set it only
   * for a device that a login has just created, so that no keys of it are published.
   * @default false
   */
  readonly newDevice?: boolean;
  /** The last value of {@link DeviceStore.commits} that the caller has stored elsewhere. A lower count is a rollback. */
  readonly knownCommits?: number;
  /** Called once when a change could not be stored. The client has to be stopped and opened again from the store. */
  readonly onFailure?: (error: MatrixClientManagerError) => void;
}

/**
 * The end-to-end keys of all users in one SQLite file, for one process at a time. Keys of open devices are in memory.
 * A change is on disk before the SDK's transaction completes, so a crash cannot lose it or leave it incomplete.
 * Every record is encrypted with its device's own key, which is encrypted with the secret.
 *
 * Reused message keys would break encryption, so a lost store or one restored from a copy is detected for each device.
 */
export class CryptoStore implements AsyncDisposable {
  readonly #opened: OpenDatabase;
  readonly #file: CryptoFile;
  readonly #counters: CounterFile;
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #onCommit: NormalizedCryptoStoreOptions['onCommit'];
  readonly #indexedDb: typeof DatabasesModule;
  /** Open devices by user id; undefined while the device is being opened. */
  readonly #open = new Map<string, DeviceStore | undefined>();
  #vault: Vault;
  #closed = false;

  private constructor(
    opened: OpenDatabase,
    counters: CounterFile,
    { logger, clock, onCommit }: NormalizedCryptoStoreOptions,
    indexedDb: typeof DatabasesModule,
  ) {
    this.#opened = opened;
    this.#file = new CryptoFile(opened.database);
    this.#vault = opened.vault;
    this.#counters = counters;
    this.#logger = logger;
    this.#clock = clock;
    this.#onCommit = onCommit;
    this.#indexedDb = indexedDb;
  }

  /**
   * Opens or creates the file. Rejects with `STORAGE_LOCKED` if another process has it open, `INVALID_OPTIONS` for a
   * wrong secret or path, `STORAGE` if it cannot be used. A damaged file is moved aside; opening its devices then
   * rejects with `ENCRYPTION_STORE_ROLLED_BACK`.
   */
  static async open(options: CryptoStoreOptions): Promise<CryptoStore> {
    const normalized = normalizeCryptoStoreOptions(options);
    const indexedDb = await import('./indexed-db/databases.js'); // optional, so not loaded without encryption
    const opened = openDatabase(normalized, cryptoLayout);
    try {
      const inMemory = opened.path === ':memory:';
      const counters = new CounterFile(normalized.counterPath ?? (inMemory ? undefined : `${opened.path}.counters`));
      return new CryptoStore(opened, counters, normalized, indexedDb);
    } catch (error) {
      opened.close();
      throw error;
    }
  }

  /** Number of devices whose keys are in memory. */
  get openDevices(): number {
    return this.#open.size;
  }

  /** Ids of the user's devices that the store has keys of, oldest first. */
  devicesOf(userId: string): string[] {
    return this.#runOnFile(() => this.#file.devicesOf(userId)).map(({ device_id: deviceId }) => deviceId);
  }

  /**
   * Loads the keys of a user's device, for one client. Rejects with `ENCRYPTION_STORE_IN_USE` while a device of the
   * user is open, `ENCRYPTION_DEVICE_MISMATCH` if the store has only keys of another device,
   * `ENCRYPTION_STORE_ROLLED_BACK` if the keys are lost or older than before, `ENCRYPTION_STORE_DAMAGED` if they cannot
   * be read, `UNSUPPORTED` if the process has another implementation of IndexedDB.
   */
  async openUser(options: OpenUserOptions): Promise<DeviceStore> {
    const { userId } = options;
    if (this.#closed) throw closedError();
    if (this.#open.has(userId)) {
      throw new MatrixClientManagerError(
        'ENCRYPTION_STORE_IN_USE',
        `the keys of ${userId} are in use by another client of this process: stop that client first`,
        { userId },
      );
    }
    this.#open.set(userId, undefined);
    try {
      const store = await this.#openDevice(options);
      if (this.#closed) {
        store.close();
        throw closedError();
      }
      this.#open.set(userId, store);
      return store;
    } catch (error) {
      this.#open.delete(userId);
      throw storageError('use', this.#opened.path, error);
    }
  }

  /**
   * Deletes the keys of a device that is not open. Its id cannot get new keys in this store: other devices do not trust
   * a device that changes its keys. Returns whether the store had keys of it.
   */
  forgetDevice(userId: string, deviceId: string): boolean {
    const open = this.#open.get(userId);
    if (this.#open.has(userId) && (!open || open.deviceId === deviceId)) {
      throw new MatrixClientManagerError('ENCRYPTION_STORE_IN_USE', `stop the client of ${userId} first`, { userId });
    }
    const row = this.#runOnFile(() => this.#file.devicesOf(userId)).find(({ device_id }) => device_id === deviceId);
    if (!row) return false;
    this.#runOnFile(() => inTransaction(this.#opened.database, () => this.#file.deleteDevice(row.id)));
    return true;
  }

  /**
   * Encrypts all device keys with a new secret, in one transaction. Open devices stay open. After that the file opens
   * only with the new secret. Throws `INVALID_OPTIONS` for an invalid secret.
   */
  rotateSecret(secret: string | Uint8Array): void {
    checkArgument('secret', fileOptions.secret, secret);
    const { keyring, dataKey } = createKeyring(secret);
    const next = new Vault(dataKey);
    this.#runOnFile(() =>
      inTransaction(this.#opened.database, () => {
        this.#file.setKeyring(keyring);
        for (const row of this.#file.allDevices()) {
          const device = { userId: row.user_id, deviceId: row.device_id };
          const key = unwrapDeviceKey(this.#vault, device, row.sealed_key);
          // An altered key stays as it is: opening its device reports it.
          if (key) this.#file.setKey(row.id, wrapDeviceKey(next, device, key));
        }
      }),
    );
    this.#vault = next;
  }

  /** Closes all open devices and the file. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const store of this.#open.values()) store?.close();
    try {
      this.#counters.close();
    } finally {
      this.#opened.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #openDevice(options: OpenUserOptions): Promise<DeviceStore> {
    const { userId, deviceId, onFailure } = options;
    const device = { userId, deviceId };
    const { row, key } = this.#findOrCreateDevice(options);
    const records = new DeviceRecords(this.#file, row.id, device, key);
    const stored = await records.load();
    const { database, path } = this.#opened;
    const store = new DeviceStore({
      ...device,
      storageKey: sdkStorageKey(key),
      commits: row.commits,
      restorePending: row.restore_pending === 1,
      setRestorePending: (pending) => this.#runOnFile(() => this.#file.setRestorePending(row.id, pending)),
      commit: (changes) => {
        const startedAt = this.#clock.now();
        try {
          if (!this.#indexedDb.databasesReachable()) throw replacedError(userId);
          const commits = inTransaction(database, () => records.write(changes));
          // After the transaction: a crash in between leaves a lower count, which is not reported as a rollback. Before
          // the SDK continues: no message is sent with keys whose rollback would not be detected.
          this.#counters.note(userId, deviceId, commits);
          this.#onCommit(true, this.#clock.now() - startedAt);
          return commits;
        } catch (error) {
          this.#onCommit(false, this.#clock.now() - startedAt);
          throw storageError('write', path, error);
        }
      },
      onFailure: (error) => {
        this.#logger.error({ userId, err: error }, 'storing encryption keys failed; the client has to be restarted');
        onFailure?.(error);
      },
      onClose: () => this.#open.delete(userId),
    });
    const databases = await this.#indexedDb.openDatabases(stored, (...change) => store.commit(...change));
    store.connect(databases);
    return store;
  }

  /** Returns the device's checked row and its key, or creates them for a new device. */
  #findOrCreateDevice({ userId, deviceId, newDevice = false, knownCommits = 0 }: OpenUserOptions): {
    row: DeviceRow;
    key: Buffer;
  } {
    if (this.#closed) throw closedError();
    const device = { userId, deviceId };
    const rows = this.#file.devicesOf(userId);
    const row = rows.find(({ device_id }) => device_id === deviceId);
    const notedCommits = Math.max(knownCommits, this.#counters.get(userId, deviceId) ?? 0);
    if (notedCommits > (row?.commits ?? 0)) throw rolledBackError(device, row?.commits, notedCommits);
    if (row) {
      this.#counters.note(userId, deviceId, row.commits);
      const key = unwrapDeviceKey(this.#vault, device, row.sealed_key);
      if (!key) throw damagedError(device, 'the key that encrypts them was altered');
      return { row, key };
    }
    if (rows.length > 0 && !newDevice) throw otherDeviceError(device, rows.at(-1)?.device_id ?? '');
    const { key, sealedKey } = createDeviceKey(this.#vault, device);
    const id = this.#file.addDevice(userId, deviceId, sealedKey);
    const newRow = { id, user_id: userId, device_id: deviceId, sealed_key: sealedKey, commits: 0, restore_pending: 0 };
    return { row: newRow, key };
  }

  #runOnFile<T>(run: () => T): T {
    if (this.#closed) throw closedError();
    try {
      return run();
    } catch (error) {
      throw isManagerError(error) ? error : storageError('use', this.#opened.path, error);
    }
  }
}

const remedy = 'Log in as a new device and restore from the key backup';

function rolledBackError({ userId, deviceId }: DeviceId, found: number | undefined, noted: number) {
  const finding = found === undefined ? 'missing' : `at change ${found}, but were at change ${noted} before`;
  return new MatrixClientManagerError(
    'ENCRYPTION_STORE_ROLLED_BACK',
    `the keys of ${userId} on device ${deviceId} are ${finding}: the crypto store was lost or restored from a copy, ` +
      `and the device must not continue with older keys. ${remedy}`,
    { userId },
  );
}

function otherDeviceError({ userId, deviceId }: DeviceId, known: string) {
  return new MatrixClientManagerError(
    'ENCRYPTION_DEVICE_MISMATCH',
    `the crypto store has keys of ${userId} on device ${known}, but the client is device ${deviceId}. ` +
      `Use that device, or open this one as a new device and restore from the key backup`,
    { userId },
  );
}

function replacedError(userId: string) {
  return new MatrixClientManagerError(
    'UNSUPPORTED',
    'globalThis.indexedDB or one of its classes was replaced while clients with encryption run: ' +
      'set it before they start, and only to the same version of fake-indexeddb',
    { userId },
  );
}
