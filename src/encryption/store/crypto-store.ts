import type { Clock } from '../../core/clock.js';
import { isManagerError, MatrixClientManagerError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { checkSecret } from '../../storage/sqlite-storage-options.js';
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
   * Whether the device may begin with new keys although the user has another one in the store: it has just been made
   * by a login, and nobody has seen keys of it.
   * @default false
   */
  readonly newDevice?: boolean;
  /** How often the device's keys had changed when somebody else last noted {@link DeviceStore.commits}. */
  readonly knownCommits?: number;
  /** Called once when a change could not be stored: stop the client, and open again from what is stored. */
  readonly onFailure?: (error: MatrixClientManagerError) => void;
}

/**
 * The end-to-end keys of a deployment's users in one SQLite file, for one process at a time. In memory are those of
 * the devices that are open. A change is on disk before the SDK hears that it is made, so a kill loses none and
 * leaves none half made. Every record is sealed under the device's own key, and that key under the secret.
 *
 * It takes care that keys are never used twice: a store put back from a copy, or lost, is found out per device.
 */
export class CryptoStore implements AsyncDisposable {
  readonly #opened: OpenDatabase;
  readonly #file: CryptoFile;
  readonly #counters: CounterFile;
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #onCommit: NormalizedCryptoStoreOptions['onCommit'];
  readonly #indexedDb: typeof DatabasesModule;
  /** By user; undefined while one is being opened. */
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
   * Opens the file or makes it. Rejects with `STORAGE_LOCKED` where another process holds it, `INVALID_OPTIONS` for a
   * wrong secret or path, `STORAGE` where it cannot be used. A damaged file is set aside; its devices are then
   * `ENCRYPTION_STORE_ROLLED_BACK` when they are opened.
   */
  static async open(options: CryptoStoreOptions): Promise<CryptoStore> {
    const normalized = normalizeCryptoStoreOptions(options);
    const indexedDb = await import('./indexed-db/databases.js'); // here, for who encrypts nothing
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

  /** How many devices have their keys in memory. */
  get openDevices(): number {
    return this.#open.size;
  }

  /** The devices of the user that the store has keys of, oldest first. */
  devicesOf(userId: string): string[] {
    return this.#use(() => this.#file.devicesOf(userId)).map(({ device_id: deviceId }) => deviceId);
  }

  /**
   * Loads the keys of a user's device, for one client. Rejects with `ENCRYPTION_STORE_IN_USE` while a device of the
   * user is open, `ENCRYPTION_DEVICE_MISMATCH` where the store has keys of another device only,
   * `ENCRYPTION_STORE_ROLLED_BACK` where the keys are older than they were or gone, `ENCRYPTION_STORE_DAMAGED` where
   * they cannot be read, `UNSUPPORTED` where the process has an IndexedDB of another make.
   */
  async openUser(options: OpenUserOptions): Promise<DeviceStore> {
    const { userId } = options;
    if (this.#closed) throw closedError();
    if (this.#open.has(userId)) {
      throw new MatrixClientManagerError(
        'ENCRYPTION_STORE_IN_USE',
        `the keys of ${userId} are in use by another client of this process: stop that one first`,
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
   * Forgets the keys of a device that is not open. Its id never gets new ones here: a device that changes its keys is
   * not trusted by others, and cannot read what was sent to it. Returns whether there were any.
   */
  forgetDevice(userId: string, deviceId: string): boolean {
    const open = this.#open.get(userId);
    if (this.#open.has(userId) && (!open || open.deviceId === deviceId)) {
      throw new MatrixClientManagerError('ENCRYPTION_STORE_IN_USE', `stop the client of ${userId} first`, { userId });
    }
    const row = this.#use(() => this.#file.devicesOf(userId)).find(({ device_id }) => device_id === deviceId);
    if (!row) return false;
    this.#use(() => inTransaction(this.#opened.database, () => this.#file.deleteDevice(row.id)));
    return true;
  }

  /**
   * Wraps all keys with another secret, in one transaction; open devices go on. From then on the file opens with the
   * new secret only. Throws `INVALID_OPTIONS` for a secret that is none.
   */
  rotateSecret(secret: string | Uint8Array): void {
    checkSecret(secret, 'CryptoStore');
    const { keyring, dataKey } = createKeyring(secret);
    const next = new Vault(dataKey);
    this.#use(() =>
      inTransaction(this.#opened.database, () => {
        this.#file.setKeyring(keyring);
        for (const row of this.#file.allDevices()) {
          const device = { userId: row.user_id, deviceId: row.device_id };
          const key = unwrapDeviceKey(this.#vault, device, row.sealed_key);
          // One that does not unwrap stays as it is, and is told when it is opened.
          if (key) this.#file.setKey(row.id, wrapDeviceKey(next, device, key));
        }
      }),
    );
    this.#vault = next;
  }

  /** Closes what is open and lets go of the file. Idempotent. */
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
    const { row, key } = this.#find(options);
    const records = new DeviceRecords(this.#file, row.id, device, key);
    const stored = await records.load();
    const { database, path } = this.#opened;
    const store = new DeviceStore({
      ...device,
      storageKey: sdkStorageKey(key),
      commits: row.commits,
      restorePending: row.restore_pending === 1,
      setRestorePending: (pending) => this.#use(() => this.#file.setRestorePending(row.id, pending)),
      commit: (changes) => {
        const begunAt = this.#clock.now();
        try {
          if (!this.#indexedDb.databasesReachable()) throw replacedError(userId);
          const commits = inTransaction(database, () => records.write(changes));
          // After the transaction: a kill in between leaves the counter behind, which is no rollback. Before the SDK
          // hears of it: so no message goes out under keys that a rollback would bring back unnoticed.
          this.#counters.note(userId, deviceId, commits);
          this.#onCommit(true, this.#clock.now() - begunAt);
          return commits;
        } catch (error) {
          this.#onCommit(false, this.#clock.now() - begunAt);
          throw storageError('write', path, error);
        }
      },
      onFailure: (error) => {
        this.#logger.error({ userId, err: error }, 'keys could not be stored; the client has to be restarted');
        onFailure?.(error);
      },
      onClose: () => this.#open.delete(userId),
    });
    const databases = await this.#indexedDb.openDatabases(stored, (...change) => store.commit(...change));
    store.connect(databases);
    return store;
  }

  /** The device's row, checked, and its key; of a device that is not known yet new ones. */
  #find({ userId, deviceId, newDevice = false, knownCommits = 0 }: OpenUserOptions): { row: DeviceRow; key: Buffer } {
    if (this.#closed) throw closedError();
    const device = { userId, deviceId };
    const rows = this.#file.devicesOf(userId);
    const row = rows.find(({ device_id }) => device_id === deviceId);
    const noted = Math.max(knownCommits, this.#counters.get(userId, deviceId) ?? 0);
    if (noted > (row?.commits ?? 0)) throw rolledBackError(device, row?.commits, noted);
    if (row) {
      this.#counters.note(userId, deviceId, row.commits);
      const key = unwrapDeviceKey(this.#vault, device, row.sealed_key);
      if (!key) throw damagedError(device, 'the key that they are sealed with was altered');
      return { row, key };
    }
    if (rows.length > 0 && !newDevice) throw otherDeviceError(device, rows.at(-1)?.device_id ?? '');
    const { key, sealedKey } = createDeviceKey(this.#vault, device);
    const id = this.#file.addDevice(userId, deviceId, sealedKey);
    const made = { id, user_id: userId, device_id: deviceId, sealed_key: sealedKey, commits: 0, restore_pending: 0 };
    return { row: made, key };
  }

  #use<T>(run: () => T): T {
    if (this.#closed) throw closedError();
    try {
      return run();
    } catch (error) {
      throw isManagerError(error) ? error : storageError('use', this.#opened.path, error);
    }
  }
}

const wayOn = 'Log in as a new device and restore from the key backup';

function rolledBackError({ userId, deviceId }: DeviceId, found: number | undefined, noted: number) {
  const what = found === undefined ? 'gone' : `at change ${found}, and were at change ${noted} before`;
  return new MatrixClientManagerError(
    'ENCRYPTION_STORE_ROLLED_BACK',
    `the keys of ${userId} on device ${deviceId} are ${what}: the crypto store was lost or put back from a copy, and ` +
      `the device must not go on with it. ${wayOn}`,
    { userId },
  );
}

function otherDeviceError({ userId, deviceId }: DeviceId, known: string) {
  return new MatrixClientManagerError(
    'ENCRYPTION_DEVICE_MISMATCH',
    `the crypto store has keys of ${userId} on device ${known}, and the client is device ${deviceId}. ` +
      `Use that device, or, where this one is new, say so and restore from the key backup`,
    { userId },
  );
}

function replacedError(userId: string) {
  return new MatrixClientManagerError(
    'UNSUPPORTED',
    'globalThis.indexedDB or one of its classes was replaced while clients with encryption run: ' +
      'what sets it has to come before them, and be the same version of fake-indexeddb',
    { userId },
  );
}
