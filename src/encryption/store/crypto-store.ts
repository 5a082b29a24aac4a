import { hkdfSync } from 'node:crypto';
import { MatrixClientManagerError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { silentLogger } from '../../core/logger.js';
import type { DeviceHandle, KeyStore, OpenDeviceOptions } from '../../core/ports/key-store.js';
import { closedError } from '../../storage/storage-errors.js';
import type { CryptoStoreOptions } from '../crypto-store-options.js';
import { DeviceStore } from './device-store.js';
import type * as DatabasesModule from './indexed-db/databases.js';

/** `knownCommits` is the last value of {@link DeviceStore.commits} that the caller has stored elsewhere. */
export interface OpenUserOptions extends OpenDeviceOptions {
  /** Called once when a change could not be stored. The client has to be stopped and opened again from the store. */
  readonly onFailure?: (error: MatrixClientManagerError) => void;
}

/**
 * The end-to-end keys of all users, where the SDK finds them: in an IndexedDB in memory, while their client runs, on top
 * of a key store. A change is in the key store before the SDK's transaction completes, so a crash cannot lose it or leave
 * it incomplete.
 *
 * Reused message keys would break encryption, so a lost store or one restored from a copy is detected for each device.
 */
export class CryptoStore implements AsyncDisposable {
  readonly #keys: KeyStore;
  readonly #logger: Logger;
  readonly #indexedDb: typeof DatabasesModule;
  readonly #open = new Set<DeviceStore>();
  #closed = false;

  private constructor(keys: KeyStore, logger: Logger, indexedDb: typeof DatabasesModule) {
    this.#keys = keys;
    this.#logger = logger;
    this.#indexedDb = indexedDb;
  }

  /** Opens the keys in an SQLite file. Rejects with what `SqliteKeyStore.open()` throws. */
  static async open(options: CryptoStoreOptions): Promise<CryptoStore> {
    const { SqliteKeyStore } = await import('./sqlite/sqlite-key-store.js'); // dynamic: the only part that needs SQLite
    return CryptoStore.on(SqliteKeyStore.open(options), options.logger);
  }

  /** Takes over the key store: `close()` closes it. */
  static async on(keys: KeyStore, logger: Logger = silentLogger): Promise<CryptoStore> {
    const indexedDb = await import('./indexed-db/databases.js'); // optional, so not loaded without encryption
    return new CryptoStore(keys, logger, indexedDb);
  }

  /** Number of devices whose keys are in memory. */
  get openDevices(): number {
    return this.#open.size;
  }

  /** Like {@link KeyStore.devicesOf}. */
  devicesOf(userId: string): Promise<string[]> {
    return this.#keys.devicesOf(userId);
  }

  /**
   * Loads the keys of a user's device, for one client. Rejects like {@link KeyStore.openDevice}, and with `UNSUPPORTED`
   * if the process has another implementation of IndexedDB.
   */
  async openUser(options: OpenUserOptions): Promise<DeviceStore> {
    const handle = await this.#keys.openDevice(options);
    try {
      return await this.#openStore(handle, options.onFailure);
    } catch (error) {
      await handle.release();
      throw error;
    }
  }

  /** Like {@link KeyStore.forgetDevice}. */
  forgetDevice(userId: string, deviceId: string): Promise<boolean> {
    return this.#keys.forgetDevice(userId, deviceId);
  }

  /** Like {@link KeyStore.rotateSecret}. */
  rotateSecret(secret: string | Uint8Array): Promise<void> {
    return this.#keys.rotateSecret(secret);
  }

  /** Closes all open devices and the key store. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled([...this.#open].map((store) => store.close()));
    await this.#keys.close(); // also where a device could not be released
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #openStore(handle: DeviceHandle, onFailure: OpenUserOptions['onFailure']): Promise<DeviceStore> {
    const { userId, deviceId } = handle;
    const store: DeviceStore = new DeviceStore({
      userId,
      deviceId,
      storageKey: sdkStorageKey(handle.key),
      commits: handle.commits,
      restorePending: handle.restorePending,
      setRestorePending: (pending) => handle.setRestorePending(pending),
      commit: async (changes) => {
        if (!this.#indexedDb.databasesReachable()) throw replacedError(userId);
        return handle.commit(changes);
      },
      onFailure: (error) => {
        this.#logger.error({ userId, err: error }, 'storing encryption keys failed; the client has to be restarted');
        onFailure?.(error);
      },
      onClose: async () => {
        this.#open.delete(store);
        await handle.release();
      },
    });
    store.connect(await this.#indexedDb.openDatabases(handle.databases, (...change) => store.commit(...change)));
    if (this.#closed) {
      await store.close();
      throw closedError();
    }
    this.#open.add(store);
    return store;
  }
}

/** The key that the SDK encrypts its records with, before the store encrypts them again. */
function sdkStorageKey(key: Uint8Array): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', key, '', 'matrix-sdk-crypto storage key', 32));
}

function replacedError(userId: string) {
  return new MatrixClientManagerError(
    'UNSUPPORTED',
    'globalThis.indexedDB or one of its classes was replaced while clients with encryption run: ' +
      'set it before they start, and only to the same version of fake-indexeddb',
    { userId },
  );
}
