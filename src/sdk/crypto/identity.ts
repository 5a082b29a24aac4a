import type { MatrixClient } from 'matrix-js-sdk';
import type { CryptoApi } from 'matrix-js-sdk/lib/crypto-api/index.js';
import { orAborted } from '../../core/abort.js';
import type { Context } from '../../core/context.js';
import type { MatrixClientManagerError } from '../../core/errors.js';
import { countKeysToBackUp, cryptoBackend, disableBackup } from './crypto-backend.js';
import type { CryptoBackend } from './crypto-backend.js';
import type { EncryptionStatus, UserVerification } from '../../encryption/encryption-status.js';
import {
  boundedAuthentication,
  callApplication,
  missingSecretError,
  OPERATION,
  setUpFailure,
} from '../../encryption/identity/identity-failures.js';
import type {
  AuthUploadDeviceSigningKeys,
  IdentitySettings,
  RestoreProgress,
} from '../../encryption/identity/identity-options.js';
import type { DeviceStore } from '../../encryption/store/device-store.js';
import { backupSecret, crossSigningSecrets, RecoveryKeyNeeded, SecretStorageAccess } from './secret-storage.js';
import type { SecretName } from './secret-storage.js';
import { areKeysPublished, currentBackupVersion, authenticateFirstPublication } from './published-keys.js';
import { applyTrust } from './trust-policy.js';
import { signUser, verificationOf } from './verification.js';

export interface IdentityOptions extends IdentitySettings {
  /** Passes user-interactive authentication where the homeserver asks for it to publish cross-signing keys. */
  readonly authenticate: AuthUploadDeviceSigningKeys;
  /** Its encryption has to be open. It need not be started. */
  readonly matrixClient: MatrixClient;
  /** Stores whether a restore from the key backup was started and has not ended: a crash may interrupt it. */
  readonly device: Pick<DeviceStore, 'restorePending' | 'setRestorePending'>;
  /** Called when the cross-signing keys are set up. The key backup is set up after that. */
  readonly onIdentityReady?: () => void;
}

/**
 * A user's cross-signing keys, secret storage and key backup. The first device creates them, a new device restores
 * them. The constructor applies the trust policy.
 *
 * Each step checks the present state first, so the next `setUp()` completes one that a crash interrupted.
 */
export class Identity {
  readonly #context: Pick<Context, 'clock' | 'logger'>;
  readonly #options: IdentityOptions;
  readonly #matrixClient: MatrixClient;
  readonly #crypto: CryptoApi;
  readonly #backend: CryptoBackend;
  readonly #userId: string;
  readonly #deviceId: string;
  readonly #secrets: SecretStorageAccess;
  #lastStep: Promise<unknown> = Promise.resolve();
  #hasSecrets = false;
  #recoveryKeyNeeded = false;
  #failure: MatrixClientManagerError | undefined;
  #backupVersion: string | undefined;
  #restored: RestoreProgress | undefined;

  constructor(context: Pick<Context, 'clock' | 'logger'>, options: IdentityOptions) {
    const { matrixClient, trust, recoveryKey } = options;
    this.#context = context;
    this.#options = options;
    this.#matrixClient = matrixClient;
    this.#userId = matrixClient.getSafeUserId();
    this.#deviceId = matrixClient.getDeviceId() ?? '';
    const crypto = matrixClient.getCrypto();
    if (!crypto) throw new Error('the encryption of the client is not open');
    this.#crypto = crypto;
    this.#backend = cryptoBackend(matrixClient);
    const caller = { userId: this.#userId, clock: context.clock };
    this.#secrets = new SecretStorageAccess(matrixClient, () =>
      callApplication(caller, 'recoveryKey', () => recoveryKey(this.#userId)),
    );
    applyTrust(crypto, trust, () => this.isSigned());
  }

  /**
   * Checks the user's identity at the homeserver and creates what is missing of the configuration. Never rejects: a
   * failure is logged and reported by `status()`.
   * @param signal - ends the set-up; abort it before the client is stopped
   * @returns whether the set-up is complete
   */
  async setUp(signal: AbortSignal): Promise<boolean> {
    const { crossSigning, keyBackup } = this.#options;
    const { logger } = this.#context;
    if (!crossSigning && !keyBackup) return true;
    const [userId, before] = [this.#userId, this.#failure?.message];
    const neededBefore = this.#recoveryKeyNeeded;
    try {
      await this.#runExclusively(() => this.#ensureConfigured(), signal);
      this.#failure = undefined;
      this.#recoveryKeyNeeded = false;
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      this.#recoveryKeyNeeded = error instanceof RecoveryKeyNeeded;
      this.#failure = this.#recoveryKeyNeeded ? undefined : setUpFailure(userId, error);
      if (!this.#failure && !neededBefore) {
        logger.warn({ userId }, 'no recovery key: the device works, but cannot read messages from before its login');
      } else if (this.#failure && this.#failure.message !== before) {
        logger.warn({ userId, err: this.#failure }, 'cross-signing, secret storage or key backup is not set up');
      }
      return false;
    }
  }

  /**
   * Replaces the user's cross-signing keys, secret storage and backup, for a lost recovery key. Other users see that
   * the identity changed, and the old backup is lost. Rejects with `ENCRYPTION_SETUP_FAILED`. If the application does not
   * store the new recovery key, nothing was replaced. If a later step fails, such as the authentication, secret storage is
   * already new and holds private keys that were not published: call `reset()` again.
   * @param authenticate - passes the homeserver's user-interactive authentication. @default options.authenticate
   */
  async reset(signal: AbortSignal, authenticate?: AuthUploadDeviceSigningKeys): Promise<void> {
    const of = { userId: this.#userId, clock: this.#context.clock };
    const bounded = authenticate && boundedAuthentication(of, authenticate);
    try {
      await this.#runExclusively(async () => {
        await this.#createStorage();
        await this.#createCrossSigningKeys(bounded);
        await this.#ensureSigned();
        if (this.#options.keyBackup) await this.#createBackup();
        this.#hasSecrets = true;
      }, signal);
      this.#failure = undefined;
      this.#recoveryKeyNeeded = false;
    } catch (error) {
      throw setUpFailure(this.#userId, error);
    }
  }

  async status(): Promise<EncryptionStatus> {
    const { ed25519, curve25519 } = await this.#crypto.getOwnDeviceKeys();
    const version = (await this.#crypto.getActiveSessionBackupVersion()) ?? undefined;
    return {
      userId: this.#userId,
      deviceId: this.#deviceId,
      ed25519,
      curve25519,
      crossSigned: await this.isSigned(),
      secretStorage: this.#hasSecrets,
      backup: {
        version: version ?? this.#backupVersion,
        enabled: version !== undefined,
        remaining: version === undefined ? undefined : await countKeysToBackUp(this.#backend),
        ...(this.#restored && { restored: this.#restored }),
      },
      trust: this.#options.trust,
      recoveryKeyNeeded: this.#recoveryKeyNeeded,
      ...(this.#failure && { failure: this.#failure }),
    };
  }

  /** As {@link verificationOf}. */
  verificationOf(userId: string): Promise<UserVerification> {
    return verificationOf(this.#crypto, userId);
  }

  /** {@link signUser}, then the user's {@link verificationOf}. Also rejects with `ENCRYPTION_SETUP_FAILED`. */
  async verify(userId: string, signal: AbortSignal): Promise<UserVerification> {
    try {
      await this.#runExclusively(() => signUser(this.#crypto, userId), signal);
      return await this.verificationOf(userId);
    } catch (error) {
      throw setUpFailure(this.#userId, error);
    }
  }

  async #ensureConfigured(): Promise<void> {
    const { crossSigning, keyBackup } = this.#options;
    this.#secrets.refresh();
    if (crossSigning) await this.#ensureCrossSigning();
    this.#options.onIdentityReady?.();
    if (keyBackup) await this.#ensureBackup();
    const requiredSecrets: SecretName[] = [
      ...(crossSigning ? crossSigningSecrets : []),
      ...(keyBackup ? ([backupSecret] as const) : []),
    ];
    if (!(await this.#secrets.has(...requiredSecrets))) {
      await this.#unlockOrCreateStorage();
      await this.#crypto.bootstrapSecretStorage({}); // adds what is missing
    }
    this.#hasSecrets = await this.#secrets.has(...requiredSecrets);
  }

  async #ensureCrossSigning(): Promise<void> {
    if (!(await areKeysPublished(this.#matrixClient))) {
      await this.#unlockOrCreateStorage();
      await this.#createCrossSigningKeys(authenticateFirstPublication(this.#matrixClient, this.#options.authenticate));
    } else {
      await this.#crypto.userHasCrossSigningKeys(this.#userId, true); // also drops private keys that do not match the published ones
      const { privateKeysCachedLocally: privateKeys } = await this.#crypto.getCrossSigningStatus();
      if (!privateKeys.masterKey || !privateKeys.selfSigningKey || !privateKeys.userSigningKey) {
        if (!(await this.#secrets.has(...crossSigningSecrets)))
          throw missingSecretError(this.#userId, 'cross-signing keys');
        await this.#crypto.bootstrapCrossSigning({}); // reads them from secret storage, and signs the device
      }
    }
    await this.#ensureSigned();
  }

  /** Signs the device if the SDK does not know a signature, and looks the result up. */
  async #ensureSigned(): Promise<void> {
    if (await this.isSigned()) return;
    await this.#crypto.crossSignDevice(this.#deviceId);
    await this.#crypto.userHasCrossSigningKeys(this.#userId, true);
  }

  async #ensureBackup(): Promise<void> {
    this.#backupVersion = await currentBackupVersion(this.#matrixClient);
    const check = await this.#crypto.checkKeyBackupAndEnable(); // also notices a deleted backup
    if (check?.trustInfo.matchesDecryptionKey) {
      if (this.#options.device.restorePending) await this.#restore();
      return;
    }
    const isKeyStored = this.#backupVersion !== undefined && (await this.#secrets.has(backupSecret));
    if (isKeyStored) {
      await this.#crypto.loadSessionBackupPrivateKeyFromSecretStorage(); // rejects if the key does not match the backup
      await disableBackup(this.#backend);
      await this.#options.device.setRestorePending(true);
      await this.#crypto.loadSessionBackupPrivateKeyFromSecretStorage();
      await this.#crypto.checkKeyBackupAndEnable();
      await this.#restore();
    } else if (this.#backupVersion === undefined || check?.trustInfo.trusted) {
      // A trusted backup without a stored key was created by a process that crashed before it could store the key.
      await this.#unlockOrCreateStorage();
      await this.#createBackup();
    } else {
      throw missingSecretError(this.#userId, 'key of the backup');
    }
  }

  async #restore(): Promise<void> {
    this.#restored = { imported: 0, total: 0 };
    const { imported, total } = await this.#crypto.restoreKeyBackup({
      progressCallback: (progress) => {
        if (!('total' in progress)) return;
        this.#restored = { imported: progress.successes, total: progress.total };
      },
    });
    this.#restored = { imported, total };
    await this.#options.device.setRestorePending(false);
  }

  /** Unlocks secret storage, or creates a new one if the old one holds no secret that is still in use. */
  async #unlockOrCreateStorage(): Promise<void> {
    if (await this.#secrets.canUnlock()) return;
    const holdsCrossSigning =
      (await this.#secrets.has(...crossSigningSecrets)) && (await areKeysPublished(this.#matrixClient));
    const holdsBackup =
      (await this.#secrets.has(backupSecret)) && (await currentBackupVersion(this.#matrixClient)) !== undefined;
    if (holdsCrossSigning || holdsBackup) throw new RecoveryKeyNeeded();
    await this.#createStorage();
  }

  async #createStorage(): Promise<void> {
    const newKey = await this.#crypto.createRecoveryKeyFromPassphrase();
    const { privateKey, encodedPrivateKey = '' } = newKey;
    const { clock } = this.#context;
    const [userId, secrets] = [this.#userId, [encodedPrivateKey, encodedPrivateKey.replaceAll(' ', '')]];
    const storeKey = (): void | Promise<void> => this.#options.onRecoveryKey(userId, encodedPrivateKey);
    await callApplication({ userId, clock }, 'onRecoveryKey', storeKey, secrets);
    this.#secrets.useKey(privateKey);
    await this.#crypto.bootstrapSecretStorage({
      createSecretStorageKey: async () => newKey,
      setupNewSecretStorage: true,
    });
  }

  async #createCrossSigningKeys(authenticate = this.#options.authenticate): Promise<void> {
    await this.#crypto.bootstrapCrossSigning({
      setupNewCrossSigning: true, // otherwise the SDK would keep keys that a crash prevented from being published
      authUploadDeviceSigningKeys: authenticate,
    });
  }

  async #createBackup(): Promise<void> {
    await disableBackup(this.#backend);
    await this.#crypto.resetKeyBackup();
    await this.#options.device.setRestorePending(false);
    this.#backupVersion = await currentBackupVersion(this.#matrixClient);
  }

  /** Whether the device is cross-signed, as far as the SDK knows. Makes no request. */
  async isSigned(): Promise<boolean> {
    const status = await this.#crypto.getDeviceVerificationStatus(this.#userId, this.#deviceId);
    return status?.signedByOwner ?? false;
  }

  /** Runs one step at a time. An abort ends the wait at once; a running step ends with the client's requests. */
  async #runExclusively(step: () => Promise<void>, signal: AbortSignal): Promise<void> {
    const before = this.#lastStep;
    const work = before.then(() => (signal.aborted ? undefined : step())).finally(() => this.#secrets.forget());
    this.#lastStep = work.catch(() => {});
    await orAborted(work, signal, OPERATION);
  }
}
