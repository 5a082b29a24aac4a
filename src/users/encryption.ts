import type { Clock } from '../core/clock.js';
import type { Credentials } from '../core/credentials.js';
import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import type { Diagnostics } from '../core/diagnostics.js';
import type { CryptoStore } from '../encryption/store/crypto-store.js';
import type { EncryptionSettings } from '../encryption/encryption-options.js';
import type { AuthUploadDeviceSigningKeys } from '../encryption/identity/identity-options.js';
import type { UserEncryption } from '../sdk/crypto/user-encryption.js';
import type { Accounts } from '../provisioning/accounts.js';

export interface EncryptionContext {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly startTimeoutMs: number;
  readonly diagnostics: Diagnostics;
  /** Makes a request for which the homeserver may require user-interactive authentication. */
  readonly authenticate: Accounts['authenticate'];
}

/** Whether the device's keys are unusable, so that the user needs a new device. */
export function isLostDevice(error: unknown): error is MatrixClientManagerError {
  return isManagerError(
    error,
    'ENCRYPTION_STORE_DAMAGED',
    'ENCRYPTION_STORE_ROLLED_BACK',
    'ENCRYPTION_DEVICE_MISMATCH',
  );
}

/** Owns the crypto store. Opens it with the first client that needs it, and closes it with the manager. */
export class Encryption {
  readonly #settings: EncryptionSettings;
  readonly #context: EncryptionContext;
  #store: Promise<CryptoStore> | undefined;
  #openDevices = (): number => 0;
  #closed = false;

  constructor(settings: EncryptionSettings, context: EncryptionContext) {
    this.#settings = settings;
    this.#context = context;
  }

  /** How many devices have their keys loaded into memory. */
  get openDevices(): number {
    return this.#openDevices();
  }

  /** Whether encryption is enabled for the user. */
  isFor(userId: string): boolean {
    return this.#settings.users(userId);
  }

  /** Loads the keys of the user's device. Rejects as `CryptoStore.open()` and `CryptoStore.openUser()` do. */
  async load({ userId, deviceId }: Credentials): Promise<UserEncryption> {
    const [store, { UserEncryption }] = await Promise.all([
      this.#openStore(),
      import('../sdk/crypto/user-encryption.js'), // dynamic: not loaded without encryption
    ]);
    const { identity } = this.#settings;
    const authenticate: AuthUploadDeviceSigningKeys = (makeRequest) => this.#context.authenticate(userId, makeRequest);
    return UserEncryption.load(store, {
      ...this.#context,
      userId,
      deviceId,
      identity,
      authenticate,
    });
  }

  /** Deletes the keys of all devices of the user. Call it after their client has stopped. */
  async deleteKeys(userId: string): Promise<void> {
    const store = await this.#openStore();
    for (const deviceId of await store.devicesOf(userId)) await store.forgetDevice(userId, deviceId);
  }

  async rotateSecret(secret: string | Uint8Array): Promise<void> {
    await (await this.#openStore()).rotateSecret(secret);
  }

  async close(): Promise<void> {
    this.#closed = true;
    const store = await this.#store?.catch(() => undefined);
    await store?.close();
  }

  #openStore(): Promise<CryptoStore> {
    if (this.#closed) throw new MatrixClientManagerError('MANAGER_CLOSED', 'the manager was shut down');
    this.#store ??= this.#createStore().catch((error: unknown) => {
      this.#store = undefined; // the next call tries again
      throw error;
    });
    return this.#store;
  }

  async #createStore(): Promise<CryptoStore> {
    const { CryptoStore } = await import('../encryption/store/crypto-store.js');
    const { path, secret, counterPath, onCorruption } = this.#settings;
    const { clock, logger, diagnostics } = this.#context;
    const store = await CryptoStore.open({
      path,
      secret,
      clock,
      logger,
      onCommit: (stored, durationMs) => diagnostics.publish('keyCommit', { stored, durationMs }),
      ...(counterPath !== undefined && { counterPath }),
      ...(onCorruption && { onCorruption }),
    });
    this.#openDevices = () => store.openDevices;
    return store;
  }
}
