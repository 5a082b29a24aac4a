import type { MatrixClient } from 'matrix-js-sdk';
import type { CryptoApi } from 'matrix-js-sdk/lib/crypto-api/index.js';
import type { BackupStatus } from '../../encryption/encryption-status.js';
import { missingSecretError } from '../../encryption/identity/identity-failures.js';
import type { RestoreProgress } from '../../encryption/identity/identity-options.js';
import type { DeviceStore } from '../../encryption/store/device-store.js';
import { countKeysToBackUp, cryptoBackend, disableBackup, isSignedByDevice } from './crypto-backend.js';
import type { CryptoBackend } from './crypto-backend.js';
import { currentBackupVersion } from './published-keys.js';
import { backupSecret } from './secret-storage.js';
import type { SecretStorageAccess } from './secret-storage.js';

export interface KeyBackupOptions {
  readonly matrixClient: MatrixClient;
  readonly crypto: CryptoApi;
  readonly device: Pick<DeviceStore, 'restorePending' | 'setRestorePending'>;
  readonly secrets: Pick<SecretStorageAccess, 'has'>;
  /** Makes sure that secret storage can take the key of a new backup. */
  readonly openStorage: () => Promise<void>;
}

/** A user's key backup at the homeserver. The first device creates it, a new device restores its keys from it. */
export class KeyBackup {
  readonly #options: KeyBackupOptions;
  readonly #backend: CryptoBackend;
  #version: string | undefined;
  #restored: RestoreProgress | undefined;

  constructor(options: KeyBackupOptions) {
    this.#options = options;
    this.#backend = cryptoBackend(options.matrixClient);
  }

  async status(): Promise<BackupStatus> {
    const version = (await this.#options.crypto.getActiveSessionBackupVersion()) ?? undefined;
    return {
      version: version ?? this.#version,
      enabled: version !== undefined,
      remaining: version === undefined ? undefined : await countKeysToBackUp(this.#backend),
      ...(this.#restored && { restored: this.#restored }),
    };
  }

  /** Uses the backup of the homeserver, or creates one where there is none. */
  async ensure(): Promise<void> {
    const { matrixClient, crypto, device, secrets, openStorage } = this.#options;
    this.#version = await currentBackupVersion(matrixClient);
    const check = await crypto.checkKeyBackupAndEnable(); // also notices a deleted backup
    if (check?.trustInfo.matchesDecryptionKey) {
      if (device.restorePending) await this.#restore();
      return;
    }
    const isKeyStored = this.#version !== undefined && (await secrets.has(backupSecret));
    if (isKeyStored) {
      await device.setRestorePending(true); // before the device has the key, or a crash would prevent the restore
      await crypto.loadSessionBackupPrivateKeyFromSecretStorage(); // rejects if the key does not match the backup
      await disableBackup(this.#backend);
      await crypto.loadSessionBackupPrivateKeyFromSecretStorage();
      await crypto.checkKeyBackupAndEnable();
      await this.#restore();
    } else if (this.#version === undefined || (check && (await isSignedByDevice(this.#backend, check.backupInfo)))) {
      // A backup that this device has created, in a process that crashed before it could store the key. Another client's
      // backup is left alone: its key may be stored soon, or where this device does not find it.
      await openStorage();
      await this.create();
    } else {
      throw missingSecretError(matrixClient.getSafeUserId(), 'key of the backup');
    }
  }

  /** Replaces the backup of the homeserver, if there is one. */
  async create(): Promise<void> {
    const { matrixClient, crypto, device } = this.#options;
    await disableBackup(this.#backend);
    await crypto.resetKeyBackup();
    await device.setRestorePending(false);
    this.#version = await currentBackupVersion(matrixClient);
  }

  async #restore(): Promise<void> {
    const { crypto, device } = this.#options;
    this.#restored = { imported: 0, total: 0 };
    const { imported, total } = await crypto.restoreKeyBackup({
      progressCallback: (progress) => {
        if (!('total' in progress)) return;
        this.#restored = { imported: progress.successes, total: progress.total };
      },
    });
    this.#restored = { imported, total };
    await device.setRestorePending(false);
  }
}
