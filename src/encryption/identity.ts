import type { MatrixClient } from 'matrix-js-sdk';
import type { CryptoApi } from 'matrix-js-sdk/lib/crypto-api/index.js';
import { orAborted } from '../core/abort.js';
import type { MatrixClientManagerError } from '../core/errors.js';
import type { EncryptionStatus, UserVerification } from './encryption-status.js';
import { callApplication, lostError, OPERATION, setUpFailure } from './identity-failures.js';
import type { AuthUploadDeviceSigningKeys, IdentityOptions, RestoreProgress } from './identity-options.js';
import { backupSecret, crossSigningSecrets, RecoveryKeyNeeded, SecretKeeper } from './secret-storage.js';
import type { SecretName } from './secret-storage.js';
import { isPublished, newestBackup } from './published-keys.js';
import { applyTrust } from './trust-policy.js';

/** What is reached of matrix-js-sdk's RustCrypto beyond its public interface. */
interface CryptoInside {
  readonly olmMachine: {
    roomKeyCounts(): Promise<{ readonly total: number; readonly backedUp: number; free(): void }>;
    disableBackup(): Promise<void>;
  };
}

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
    const { matrixClient, trust, recoveryKey } = options;
    this.#options = options;
    this.#matrixClient = matrixClient;
    this.#userId = matrixClient.getSafeUserId();
    this.#deviceId = matrixClient.getDeviceId() ?? '';
    const crypto = matrixClient.getCrypto();
    if (!crypto) throw new Error('the encryption of the client is not open');
    this.#crypto = crypto;
    this.#secrets = new SecretKeeper(matrixClient, () =>
      callApplication(this.#userId, 'recoveryKey', recoveryKey(this.#userId), []),
    );
    applyTrust(crypto, trust, () => this.#isSigned());
  }

  /**
   * Brings the user's identity to what is configured: with requests where something is missing, and where nothing is,
   * too, to see that. Never rejects: what failed is told to the logger once, and by `status()`.
   * @param signal - ends it; to be fired before the client is stopped
   */
  async setUp(signal: AbortSignal): Promise<void> {
    const { crossSigning, keyBackup, logger } = this.#options;
    if (!crossSigning && !keyBackup) return;
    try {
      await this.#alone(() => this.#ensure(), signal);
      this.#failure = undefined;
      this.#recoveryKeyNeeded = false;
    } catch (error) {
      if (signal.aborted) return;
      const userId = this.#userId;
      if (error instanceof RecoveryKeyNeeded) {
        this.#recoveryKeyNeeded = true;
        logger.warn({ userId }, 'no recovery key: the device works, but without what was said before');
      } else {
        this.#failure = setUpFailure(this.#userId, error);
        logger.warn({ userId, err: this.#failure }, 'cross-signing, secret storage or key backup is not set up');
      }
    }
  }

  /**
   * Replaces the user's cross-signing keys, secret storage and backup by new ones, for those whose recovery key is
   * lost. Others see that the identity has changed, and what was in the old backup is gone. Rejects with
   * `ENCRYPTION_SETUP_FAILED` where the homeserver wants it authenticated otherwise, or the application does not take
   * the new recovery key; nothing has been replaced in the latter case.
   * @param authenticate - passes the homeserver's user-interactive authentication. @default without any
   */
  async reset(signal: AbortSignal, authenticate?: AuthUploadDeviceSigningKeys): Promise<void> {
    try {
      await this.#alone(async () => {
        await this.#makeStorage();
        await this.#makeIdentity(authenticate);
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
      crossSigned: await this.#isSigned(),
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

  /** What is known of a user. Asks the homeserver about one that shares no room with the client's. */
  async verificationOf(userId: string): Promise<UserVerification> {
    const devices = (await this.#crypto.getUserDeviceInfo([userId], true)).get(userId);
    const user = await this.#crypto.getUserVerificationStatus(userId);
    const verified = [...(devices?.values() ?? [])].map(async (device) => {
      const status = await this.#crypto.getDeviceVerificationStatus(userId, device.deviceId);
      return {
        deviceId: device.deviceId,
        ed25519: device.getFingerprint(),
        crossSigned: status?.signedByOwner ?? false,
        verified: status?.isVerified() ?? false,
      };
    });
    return {
      userId,
      hasIdentity: user.known,
      verified: user.isVerified(),
      identityChanged: user.needsUserApproval || (user.wasCrossSigningVerified() && !user.isVerified()),
      devices: await Promise.all(verified),
    };
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
      await this.#makeIdentity();
    } else {
      await this.#lookUpOwnKeys(); // private ones that do not belong to what is published are dropped then
      const { privateKeysCachedLocally: own } = await this.#crypto.getCrossSigningStatus();
      if (!own.masterKey || !own.selfSigningKey || !own.userSigningKey) {
        if (!(await this.#secrets.has(...crossSigningSecrets))) throw lostError(this.#userId, 'cross-signing keys');
        await this.#crypto.bootstrapCrossSigning({}); // reads them from secret storage, and signs the device
      }
    }
    if (await this.#isSigned()) return;
    await this.#crypto.crossSignDevice(this.#deviceId);
    await this.#lookUpOwnKeys();
  }

  async #ensureBackup(): Promise<void> {
    this.#backupVersion = await newestBackup(this.#matrixClient);
    const check = await this.#crypto.checkKeyBackupAndEnable(); // also notices one that was deleted
    if (check?.trustInfo.matchesDecryptionKey) return;
    const isKept = this.#backupVersion !== undefined && (await this.#secrets.has(backupSecret));
    if (isKept) {
      await this.#forgetBackup();
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
    const { onRecoveryKey } = this.#options;
    const secrets = [encodedPrivateKey, encodedPrivateKey.replaceAll(' ', '')];
    await callApplication(this.#userId, 'onRecoveryKey', onRecoveryKey(this.#userId, encodedPrivateKey), secrets);
    this.#secrets.hold(privateKey);
    await this.#crypto.bootstrapSecretStorage({
      createSecretStorageKey: async () => made,
      setupNewSecretStorage: true,
    });
  }

  async #makeIdentity(authenticate?: AuthUploadDeviceSigningKeys): Promise<void> {
    await this.#crypto.bootstrapCrossSigning({
      setupNewCrossSigning: true, // else keys that were made, and never published because of a kill, would never be
      authUploadDeviceSigningKeys: (makeRequest) => (authenticate ? authenticate(makeRequest) : makeRequest(null)),
    });
  }

  async #makeBackup(): Promise<void> {
    await this.#forgetBackup();
    await this.#crypto.resetKeyBackup();
    this.#backupVersion = await newestBackup(this.#matrixClient);
  }

  /** The SDK would not store in another backup what it has stored in one that went while the client was stopped. */
  #forgetBackup(): Promise<void> {
    return this.#inside.olmMachine.disableBackup();
  }

  get #inside(): CryptoInside {
    return this.#crypto as unknown as CryptoInside;
  }

  async #lookUpOwnKeys(): Promise<void> {
    await this.#crypto.userHasCrossSigningKeys(this.#userId, true);
  }

  async #isSigned(): Promise<boolean> {
    const status = await this.#crypto.getDeviceVerificationStatus(this.#userId, this.#deviceId);
    return status?.signedByOwner ?? false;
  }

  async #remaining(): Promise<number> {
    const counts = await this.#inside.olmMachine.roomKeyCounts();
    const { total, backedUp } = counts;
    counts.free();
    return total - backedUp;
  }

  /** One at a time; a signal ends the wait, and the step under way ends with the client's requests. */
  async #alone(step: () => Promise<void>, signal: AbortSignal): Promise<void> {
    const before = this.#work;
    const work = before
      .then(() => {
        if (!signal.aborted) return step();
        return undefined;
      })
      .finally(() => this.#secrets.forget());
    this.#work = work.catch(() => {});
    await orAborted(work, signal, OPERATION);
  }
}
