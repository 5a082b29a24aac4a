import type { MatrixClient } from 'matrix-js-sdk';
import type { CryptoApi } from 'matrix-js-sdk/lib/crypto-api/index.js';
import { orAborted } from '../../core/abort.js';
import type { MatrixClientManagerError } from '../../core/errors.js';
import { cryptoBackend } from './crypto-backend.js';
import type { EncryptionStatus, UserVerification } from '../../encryption/encryption-status.js';
import {
  boundedAuthentication,
  callApplication,
  lostError,
  OPERATION,
  setUpFailure,
} from '../../encryption/identity/identity-failures.js';
import type { AuthUploadDeviceSigningKeys, RestoreProgress } from '../../encryption/identity/identity-options.js';
import type { IdentityOptions } from './identity-options.js';
import { backupSecret, crossSigningSecrets, RecoveryKeyNeeded, SecretKeeper } from './secret-storage.js';
import type { SecretName } from './secret-storage.js';
import { isPublished, newestBackup, publishesFirst } from './published-keys.js';
import { applyTrust } from './trust-policy.js';
import { signUser, verificationOf } from './verification.js';

/**
 * A user's cross-signing keys, secret storage and key backup, as seen from the device of their client: made for the
 * first device, restored on a new one. Trust is in force from construction on.
 *
 * Each step looks at what is there, so what a kill has cut short is made up for by the next `setUp()`.
 */
export class Identity {
  readonly #options: IdentityOptions;
  readonly #matrixClient: MatrixClient;
  readonly #crypto: CryptoApi;
  readonly #userId: string;
  readonly #deviceId: string;
  readonly #secrets: SecretKeeper;
  #work: Promise<unknown> = Promise.resolve();
  #hasSecrets = false;
  #recoveryKeyNeeded = false;
  #failure: MatrixClientManagerError | undefined;
  #backupVersion: string | undefined;
  #restored: RestoreProgress | undefined;

  /** @param options - their client's encryption has to be open */
  constructor(options: IdentityOptions) {
    const { matrixClient, trust, recoveryKey, clock } = options;
    this.#options = options;
    this.#matrixClient = matrixClient;
    this.#userId = matrixClient.getSafeUserId();
    this.#deviceId = matrixClient.getDeviceId() ?? '';
    const crypto = matrixClient.getCrypto();
    if (!crypto) throw new Error('the encryption of the client is not open');
    this.#crypto = crypto;
    const caller = { userId: this.#userId, clock };
    this.#secrets = new SecretKeeper(matrixClient, () =>
      callApplication(caller, 'recoveryKey', () => recoveryKey(this.#userId)),
    );
    applyTrust(crypto, trust, () => this.isSigned());
  }

  /**
   * Brings the user's identity to what is configured: with requests where something is missing, and where nothing is,
   * too, to see that. Never rejects: what failed is told to the logger, and by `status()`.
   * @param signal - ends it; to be fired before the client is stopped
   * @returns whether nothing is left to do
   */
  async setUp(signal: AbortSignal): Promise<boolean> {
    const { crossSigning, keyBackup, logger } = this.#options;
    if (!crossSigning && !keyBackup) return true;
    const [userId, before] = [this.#userId, this.#failure?.message];
    const neededBefore = this.#recoveryKeyNeeded;
    try {
      await this.#alone(() => this.#ensure(), signal);
      this.#failure = undefined;
      this.#recoveryKeyNeeded = false;
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      this.#recoveryKeyNeeded = error instanceof RecoveryKeyNeeded;
      this.#failure = this.#recoveryKeyNeeded ? undefined : setUpFailure(userId, error);
      if (!this.#failure && !neededBefore) {
        logger.warn({ userId }, 'no recovery key: the device works, but without what was said before');
      } else if (this.#failure && this.#failure.message !== before) {
        logger.warn({ userId, err: this.#failure }, 'cross-signing, secret storage or key backup is not set up');
      }
      return false;
    }
  }

  /**
   * Replaces the user's cross-signing keys, secret storage and backup by new ones, for those whose recovery key is
   * lost. Others see that the identity has changed, and what was in the old backup is gone. Rejects with
   * `ENCRYPTION_SETUP_FAILED` where the homeserver wants it authenticated otherwise, or the application does not take
   * the new recovery key; nothing has been replaced in the latter case.
   * @param authenticate - of the application: passes the homeserver's user-interactive authentication.
   * @default as the options say
   */
  async reset(signal: AbortSignal, authenticate?: AuthUploadDeviceSigningKeys): Promise<void> {
    const of = { userId: this.#userId, clock: this.#options.clock };
    const bounded = authenticate && boundedAuthentication(of, authenticate);
    try {
      await this.#alone(async () => {
        await this.#makeStorage();
        await this.#makeIdentity(bounded);
        await this.#ensureSigned();
        if (this.#options.keyBackup) await this.#makeBackup();
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
        remaining: version === undefined ? undefined : await this.#remaining(),
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

  /** As {@link signUser}, and what is known of the user then. Rejects with `ENCRYPTION_SETUP_FAILED`, too. */
  async verify(userId: string, signal: AbortSignal): Promise<UserVerification> {
    try {
      await this.#alone(() => signUser(this.#crypto, userId), signal);
      return await this.verificationOf(userId);
    } catch (error) {
      throw setUpFailure(this.#userId, error);
    }
  }

  async #ensure(): Promise<void> {
    const { crossSigning, keyBackup } = this.#options;
    this.#secrets.refresh();
    if (crossSigning) await this.#ensureIdentity();
    this.#options.onIdentityReady?.();
    if (keyBackup) await this.#ensureBackup();
    const wanted: SecretName[] = [
      ...(crossSigning ? crossSigningSecrets : []),
      ...(keyBackup ? ([backupSecret] as const) : []),
    ];
    if (!(await this.#secrets.has(...wanted))) {
      await this.#openStorage();
      await this.#crypto.bootstrapSecretStorage({}); // adds what is missing
    }
    this.#hasSecrets = await this.#secrets.has(...wanted);
  }

  async #ensureIdentity(): Promise<void> {
    if (!(await isPublished(this.#matrixClient))) {
      await this.#openStorage();
      await this.#makeIdentity(publishesFirst(this.#matrixClient, this.#options.authenticate));
    } else {
      await this.#lookUpOwnKeys(); // private ones that do not belong to what is published are dropped then
      const { privateKeysCachedLocally: own } = await this.#crypto.getCrossSigningStatus();
      if (!own.masterKey || !own.selfSigningKey || !own.userSigningKey) {
        if (!(await this.#secrets.has(...crossSigningSecrets))) throw lostError(this.#userId, 'cross-signing keys');
        await this.#crypto.bootstrapCrossSigning({}); // reads them from secret storage, and signs the device
      }
    }
    await this.#ensureSigned();
  }

  /** The SDK may not know yet that it has signed the device. */
  async #ensureSigned(): Promise<void> {
    if (await this.isSigned()) return;
    await this.#crypto.crossSignDevice(this.#deviceId);
    await this.#lookUpOwnKeys();
  }

  async #ensureBackup(): Promise<void> {
    this.#backupVersion = await newestBackup(this.#matrixClient);
    const check = await this.#crypto.checkKeyBackupAndEnable(); // also notices one that was deleted
    if (check?.trustInfo.matchesDecryptionKey) {
      if (this.#options.device.restorePending) await this.#restore();
      return;
    }
    const isKept = this.#backupVersion !== undefined && (await this.#secrets.has(backupSecret));
    if (isKept) {
      await this.#crypto.loadSessionBackupPrivateKeyFromSecretStorage(); // fails where it is not the backup's
      await this.#forgetBackup();
      this.#options.device.restorePending = true;
      await this.#crypto.loadSessionBackupPrivateKeyFromSecretStorage();
      await this.#crypto.checkKeyBackupAndEnable();
      await this.#restore();
    } else if (this.#backupVersion === undefined || check?.trustInfo.trusted) {
      // One of the user's own whose key is nowhere was made by a process that was killed before it could keep it.
      await this.#openStorage();
      await this.#makeBackup();
    } else {
      throw lostError(this.#userId, 'key of the backup');
    }
  }

  async #restore(): Promise<void> {
    this.#restored = { imported: 0, total: 0 };
    const { imported, total } = await this.#crypto.restoreKeyBackup({
      progressCallback: (progress) => {
        if (!('total' in progress)) return;
        this.#restored = { imported: progress.successes, total: progress.total };
        this.#options.onRestoreProgress?.(this.#restored);
      },
    });
    this.#restored = { imported, total };
    this.#options.device.restorePending = false;
  }

  /** Sees to a secret storage that can be written to: the one that is there, or a new one where nothing relies on that. */
  async #openStorage(): Promise<void> {
    if (await this.#secrets.isOpen()) return;
    const holds = (await this.#secrets.has(...crossSigningSecrets)) && (await isPublished(this.#matrixClient));
    const holdsBackup =
      (await this.#secrets.has(backupSecret)) && (await newestBackup(this.#matrixClient)) !== undefined;
    if (holds || holdsBackup) throw new RecoveryKeyNeeded();
    await this.#makeStorage();
  }

  async #makeStorage(): Promise<void> {
    const made = await this.#crypto.createRecoveryKeyFromPassphrase();
    const { privateKey, encodedPrivateKey = '' } = made;
    const { clock, onRecoveryKey } = this.#options;
    const [userId, secrets] = [this.#userId, [encodedPrivateKey, encodedPrivateKey.replaceAll(' ', '')]];
    const hand = (): void | Promise<void> => onRecoveryKey(userId, encodedPrivateKey);
    await callApplication({ userId, clock }, 'onRecoveryKey', hand, secrets);
    this.#secrets.hold(privateKey);
    await this.#crypto.bootstrapSecretStorage({
      createSecretStorageKey: async () => made,
      setupNewSecretStorage: true,
    });
  }

  async #makeIdentity(authenticate = this.#options.authenticate): Promise<void> {
    await this.#crypto.bootstrapCrossSigning({
      setupNewCrossSigning: true, // else keys that were made, and never published because of a kill, would never be
      authUploadDeviceSigningKeys: authenticate,
    });
  }

  async #makeBackup(): Promise<void> {
    await this.#forgetBackup();
    await this.#crypto.resetKeyBackup();
    this.#options.device.restorePending = false;
    this.#backupVersion = await newestBackup(this.#matrixClient);
  }

  /** The SDK would not store in another backup what it has stored in one that went while the client was stopped. */
  #forgetBackup(): Promise<void> {
    return cryptoBackend(this.#matrixClient).olmMachine.disableBackup();
  }

  async #lookUpOwnKeys(): Promise<void> {
    await this.#crypto.userHasCrossSigningKeys(this.#userId, true);
  }

  /** Whether the device is signed, as far as it knows. */
  async isSigned(): Promise<boolean> {
    const status = await this.#crypto.getDeviceVerificationStatus(this.#userId, this.#deviceId);
    return status?.signedByOwner ?? false;
  }

  async #remaining(): Promise<number> {
    const counts = await cryptoBackend(this.#matrixClient).olmMachine.roomKeyCounts();
    const { total, backedUp } = counts;
    counts.free();
    return total - backedUp;
  }

  /** One at a time; a signal ends the wait, and the step under way ends with the client's requests. */
  async #alone(step: () => Promise<void>, signal: AbortSignal): Promise<void> {
    const before = this.#work;
    const work = before.then(() => (signal.aborted ? undefined : step())).finally(() => this.#secrets.forget());
    this.#work = work.catch(() => {});
    await orAborted(work, signal, OPERATION);
  }
}
