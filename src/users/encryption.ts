import { managerClosedError } from '../core/lifecycle.js';
import type { Context } from '../core/context.js';
import type { Credentials } from '../core/credentials.js';
import { isManagerError } from '../core/errors.js';
import type { MatrixClientManagerError } from '../core/errors.js';
import type { Claim } from '../core/ports/claim.js';
import type { KeyStore } from '../core/ports/key-store.js';
import type { KeysWithheld } from '../core/withheld-keys.js';
import type { EncryptedRooms } from '../encryption/encrypted-rooms.js';
import type { CryptoStore } from '../encryption/store/crypto-store.js';
import type { EncryptionSettings } from '../encryption/encryption-options.js';
import type { IdentityChange } from '../encryption/identity/identity-change.js';
import type { Accounts } from '../provisioning/accounts.js';
import type { UserEncryption, UserEncryptionOptions } from '../sdk/crypto/user-encryption.js';

export interface EncryptionOptions {
  readonly settings: Pick<EncryptionSettings, 'users' | 'identity' | 'onVerificationRequest'>;
  readonly encryptedRooms: EncryptedRooms;
  readonly onVerificationRequested: UserEncryptionOptions['onRequested'];
  /** Opens the store of the keys. Called again after a failure. */
  readonly openKeys: () => Promise<KeyStore>;
  /** Makes a request for which the homeserver may require user-interactive authentication. */
  readonly authenticate: Accounts['authenticate'];
  readonly onKeysWithheld: (withheld: KeysWithheld) => void;
  readonly onIdentityChanged: (change: IdentityChange) => void;
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
  readonly #context: Context;
  readonly #options: EncryptionOptions;
  #opening: Promise<CryptoStore> | undefined;
  #store: CryptoStore | undefined;
  #closed = false;

  constructor(context: Context, options: EncryptionOptions) {
    this.#context = context;
    this.#options = options;
  }

  /** How many devices have their keys loaded into memory. */
  get openDevices(): number {
    return this.#store?.openDevices ?? 0;
  }

  /** Whether encryption is enabled for the user. */
  isFor(userId: string): boolean {
    return this.#options.settings.users(userId);
  }

  /** Loads the keys of the user's device. Rejects as `CryptoStore.open()` and `CryptoStore.openUser()` do. */
  async load({ userId, deviceId }: Credentials, claim: Claim): Promise<UserEncryption> {
    const [store, { UserEncryption }] = await Promise.all([
      this.#openStore(),
      import('../sdk/crypto/user-encryption.js'), // dynamic: not loaded without encryption
    ]);
    const { settings, authenticate, encryptedRooms, onIdentityChanged, onKeysWithheld, onVerificationRequested } =
      this.#options;
    return UserEncryption.load(this.#context, store, {
      userId,
      deviceId,
      claim,
      identity: settings.identity,
      encryptedRooms,
      onKeysWithheld,
      onRequest: settings.onVerificationRequest,
      onRequested: onVerificationRequested,
      authenticate: (makeRequest) => authenticate(userId, makeRequest),
      onIdentityChanged,
    });
  }

  /** Deletes the keys of all devices of the user. Call it after their client has stopped. */
  async deleteKeys(userId: string): Promise<void> {
    const { keys } = await this.#openStore();
    for (const deviceId of await keys.devicesOf(userId)) await keys.forgetDevice(userId, deviceId);
  }

  async rotateSecret(secret: string | Uint8Array): Promise<void> {
    await (await this.#openStore()).keys.rotateSecret(secret);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#opening?.catch(() => {}); // its caller handles it
    await this.#store?.close();
  }

  #openStore(): Promise<CryptoStore> {
    if (this.#closed) throw managerClosedError();
    this.#opening ??= this.#createStore().catch((error: unknown) => {
      this.#opening = undefined; // the next call tries again
      throw error;
    });
    return this.#opening;
  }

  async #createStore(): Promise<CryptoStore> {
    const { CryptoStore } = await import('../encryption/store/crypto-store.js');
    return (this.#store = await CryptoStore.open(this.#context, this.#options.openKeys));
  }
}
