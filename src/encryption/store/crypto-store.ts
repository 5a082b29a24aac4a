import type { Context } from '../../core/context.js';
import { MatrixClientManagerError } from '../../core/errors.js';
import type { DeviceHandle, KeyChange, KeyStore, OpenDeviceOptions } from '../../core/ports/key-store.js';
import { closedError } from '../../storage/storage-errors.js';
import { DeviceStore } from './device-store.js';
import { storageError } from './key-failures.js';
import { isSealedBySdk } from './sdk-sealing.js';
import type * as DatabasesModule from './indexed-db/databases.js';

type CryptoContext = Pick<Context, 'clock' | 'logger' | 'diagnostics'>;

export interface OpenUserOptions extends OpenDeviceOptions {
  /**
   * Called once when a change could not be stored, or a side record not be read. The client has to be
   * stopped and opened again from the store.
   */
  readonly onFailure?: (error: MatrixClientManagerError) => void;
}

/**
 * The end-to-end keys of all users, where the SDK finds them: in an IndexedDB in memory, while their client runs, on top
 * of a key store. A change is in the key store before a result that depends on it leaves the crypto library, so a crash
 * cannot lose a change that others have seen.
 *
 * Reused message keys would break encryption, so a lost store or one restored from a copy is detected for each device.
 */
export class CryptoStore implements AsyncDisposable {
  readonly keys: KeyStore;
  readonly #context: CryptoContext;
  readonly #indexedDb: typeof DatabasesModule;
  readonly #open = new Set<DeviceStore>();
  /** By user id. A client's stop waits for them with a time limit, so the user's next client may come before the end. */
  readonly #closing = new Map<string, Promise<void>>();
  #closed = false;

  private constructor(context: CryptoContext, keys: KeyStore, indexedDb: typeof DatabasesModule) {
    this.#context = context;
    this.keys = keys;
    this.#indexedDb = indexedDb;
  }

  /** Opens a key store, which `close()` closes. Rejects with what `openKeys` throws. */
  static async open(context: CryptoContext, openKeys: () => KeyStore | Promise<KeyStore>): Promise<CryptoStore> {
    // Optional, so not loaded without encryption. Before the key store, which would stay locked if the import fails.
    const indexedDb = await import('./indexed-db/databases.js');
    return new CryptoStore(context, await openKeys(), indexedDb);
  }

  /** Number of devices whose keys are in memory. */
  get openDevices(): number {
    return this.#open.size;
  }

  /**
   * Loads the keys of a user's device, for one client. Waits until the store of the user's last client has closed. Rejects like {@link KeyStore.openDevice}, and with `UNSUPPORTED`
   * if the process has another implementation of IndexedDB.
   */
  async openUser({ onFailure, ...options }: OpenUserOptions): Promise<DeviceStore> {
    const { userId } = options;
    const closing = this.#closing.get(userId);
    if (closing) await closing;
    try {
      return await this.#openStore(await this.keys.openDevice(options), onFailure);
    } catch (error) {
      throw storageError(userId, 'be loaded', error);
    }
  }

  /** Closes all open devices and the key store. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled([...this.#open].map((store) => store.close()));
    await this.keys.close(); // also where a device could not be released
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #openStore(handle: DeviceHandle, onFailure: OpenUserOptions['onFailure']): Promise<DeviceStore> {
    const { userId } = handle;
    const store: DeviceStore = new DeviceStore({
      handle,
      sealedBySdk: isSealedBySdk(handle.databases),
      commit: (changes) => this.#commit(handle, changes),
      onFailure: (error) => {
        const message = 'the store of encryption keys failed; the client has to be restarted';
        this.#context.logger.error({ userId, err: error }, message);
        onFailure?.(error);
      },
      onDamagedRecord: (error) => {
        const message =
          'a damaged record begins anew: messages could be repeated once more, or devices without keys not be named';
        this.#context.logger.error({ userId, err: error }, message);
      },
      onClose: (closed) => {
        this.#open.delete(store);
        this.#noteClosing(userId, closed);
      },
    });
    try {
      store.connect(await this.#indexedDb.openDatabases(handle.databases, (...change) => store.commit(...change)));
      if (this.#closed) throw closedError();
    } catch (error) {
      await store.close();
      throw error;
    }
    this.#open.add(store);
    return store;
  }

  #noteClosing(userId: string, closed: Promise<void>): void {
    const end = (): void => {
      if (this.#closing.get(userId) === ended) this.#closing.delete(userId);
    };
    const ended = closed.then(end, end);
    this.#closing.set(userId, ended);
  }

  async #commit(handle: DeviceHandle, changes: readonly KeyChange[]): Promise<number> {
    const { clock, diagnostics } = this.#context;
    const startedAt = clock.now();
    try {
      if (!this.#indexedDb.databasesReachable()) throw replacedError(handle.userId);
      const commits = await handle.commit(changes);
      diagnostics.publish('keyCommit', { stored: true, durationMs: clock.now() - startedAt });
      return commits;
    } catch (error) {
      diagnostics.publish('keyCommit', { stored: false, durationMs: clock.now() - startedAt });
      throw storageError(handle.userId, 'be stored', error);
    }
  }
}

function replacedError(userId: string): MatrixClientManagerError {
  return new MatrixClientManagerError(
    'UNSUPPORTED',
    'globalThis.indexedDB or one of its classes was replaced while clients with encryption run: ' +
      'set it before they start, and only to the same version of fake-indexeddb',
    { userId },
  );
}
