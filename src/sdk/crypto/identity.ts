import type { MachineGuard } from './machine-guard.js';
import type { MatrixClient } from 'matrix-js-sdk';
import type { CryptoApi } from 'matrix-js-sdk/lib/crypto-api/index.js';
import { orAborted } from '../../core/abort.js';
import type { Context } from '../../core/context.js';
import { isManagerError } from '../../core/errors.js';
import type { MatrixClientManagerError } from '../../core/errors.js';
import { cryptoBackend, hasPrivateKeys } from './crypto-backend.js';
import type { CryptoBackend } from './crypto-backend.js';
import type { EncryptionStatus, UserVerification } from '../../encryption/encryption-status.js';
import {
  boundedAuthentication,
  callApplication,
  missingSecretError,
  OPERATION,
  setUpFailure,
} from '../../encryption/identity/identity-failures.js';
import type { AuthUploadDeviceSigningKeys, IdentitySettings } from '../../encryption/identity/identity-options.js';
import { UnfinishedReset } from '../../encryption/identity/unfinished-reset.js';
import type { Reset } from '../../encryption/identity/unfinished-reset.js';
import type { DeviceStore } from '../../encryption/store/device-store.js';
import {
  backupSecret,
  crossSigningSecrets,
  DEFAULT_KEY,
  RecoveryKeyNeeded,
  secretNames,
  SecretStorageAccess,
} from './secret-storage.js';
import type { SecretName } from './secret-storage.js';
import { KeyBackup } from './key-backup.js';
import {
  areKeysPublished,
  authenticateFirstPublication,
  currentBackupVersion,
  isPublished,
  masterKeyOf,
} from './published-keys.js';
import { applyTrust } from './trust-policy.js';
import { userIdentity } from './user-identity.js';
import { signUser, verificationOf } from './verification.js';

export interface IdentityOptions extends IdentitySettings {
  /** Passes user-interactive authentication where the homeserver asks for it to publish cross-signing keys. */
  readonly authenticate: AuthUploadDeviceSigningKeys;
  /** Its encryption has to be open. It need not be started. */
  readonly matrixClient: MatrixClient;
  /** Makes a call of the crypto library whose changes are stored before its result is used. */
  readonly run: MachineGuard['run'];
  /** Stores whether a restore from the key backup or a reset was started and has not ended: a crash may interrupt it. */
  readonly device: Pick<DeviceStore, 'restorePending' | 'setRestorePending' | 'readSideRecord' | 'writeSideRecord'>;
  /** Called when the cross-signing keys are set up. The key backup is set up after that. */
  readonly onIdentityReady?: () => void;
  /** Called with the public master key of new keys before they are published. The homeserver may refuse them. */
  readonly onKeysCreated?: (masterKey: string) => Promise<void>;
}

/**
 * A user's cross-signing keys, secret storage and key backup. The first device creates them, a new device restores
 * them. The constructor applies the trust policy.
 *
 * Each step checks the present state first, so the next `setUp()` completes one that a crash interrupted.
 *
 * This file is a little long because set-up, reset and what tells whether another set-up is needed share one state.
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
  readonly #backup: KeyBackup;
  readonly #unfinishedReset: UnfinishedReset;
  #lastStep: Promise<unknown> = Promise.resolve();
  #hasSecrets = false;
  #recoveryKeyNeeded = false;
  #failure: MatrixClientManagerError | undefined;
  #isComplete = false;
  /** What the SDK knew of the identity when the last set-up or reset had ended. */
  #knownState: string | undefined;
  #publishedMasterKey: string | undefined;

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
    this.#secrets = new SecretStorageAccess(matrixClient, {
      ask: () => callApplication(caller, 'recoveryKey', () => recoveryKey(this.#userId)),
      masterKey: () => this.#masterKey(),
    });
    this.#backup = new KeyBackup({
      matrixClient,
      crypto,
      device: options.device,
      secrets: this.#secrets,
      openStorage: () => this.#unlockOrCreateStorage(),
    });
    this.#unfinishedReset = new UnfinishedReset(options.device);
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
      return (this.#isComplete = true);
    } catch (error) {
      this.#isComplete = false;
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
   * store the new recovery key, nothing was replaced. If the homeserver refuses the new keys, the old ones stay, and are in
   * the new secret storage if the device has them; otherwise the old secret storage stays. If the new keys are published, but
   * could not be stored, the new secret storage stays; another reset stores new ones. Where the old secret storage stays, the
   * new recovery key opens it too, if the application still gave the old one.
   * @param authenticate - passes the homeserver's user-interactive authentication. @default options.authenticate
   */
  async reset(signal: AbortSignal, authenticate?: AuthUploadDeviceSigningKeys): Promise<void> {
    const of = { userId: this.#userId, clock: this.#context.clock };
    const bounded = authenticate && boundedAuthentication(of, authenticate);
    try {
      await this.#runExclusively(() => this.#replaceIdentity(bounded), signal);
      this.#failure = undefined;
      this.#recoveryKeyNeeded = false;
      this.#isComplete = true;
    } catch (error) {
      throw setUpFailure(this.#userId, error);
    }
  }

  /** The public master key that this device has published last, since the client's start. */
  get publishedMasterKey(): string | undefined {
    return this.#publishedMasterKey;
  }

  /** Resolves when no set-up, reset or verification is running. Never rejects. */
  async idle(): Promise<void> {
    for (let last: unknown; last !== this.#lastStep;) await (last = this.#lastStep);
  }

  /**
   * Whether the user's cross-signing keys are no longer those of the last set-up, because another client has replaced
   * them. Waits for a running set-up. Makes no request.
   */
  async hasLostKeys(): Promise<boolean> {
    await this.idle();
    if (!this.#options.crossSigning) return false;
    if ((await this.#state()) !== this.#knownState) return true;
    return this.#isComplete && !((await this.isSigned()) && (await hasPrivateKeys(this.#backend)));
  }

  /**
   * Whether this account data, from a sync, shows a secret storage that the last set-up has not seen. Waits for a running
   * set-up.
   */
  async isOtherStorage(type: string, content: Readonly<Record<string, unknown>>): Promise<boolean> {
    await this.idle();
    if (type === DEFAULT_KEY) return content['key'] !== this.#secrets.defaultKeyId;
    return !this.#isComplete && (secretNames as readonly string[]).includes(type);
  }

  async status(): Promise<EncryptionStatus> {
    const { ed25519, curve25519 } = await this.#crypto.getOwnDeviceKeys();
    const own = await this.#crypto.getUserVerificationStatus(this.#userId);
    const [isVerified, wasVerified] = [own.isCrossSigningVerified(), own.wasCrossSigningVerified()];
    return {
      userId: this.#userId,
      deviceId: this.#deviceId,
      ed25519,
      curve25519,
      crossSigned: await this.isSigned(),
      identityChanged: wasVerified && !isVerified,
      secretStorage: this.#hasSecrets,
      backup: await this.#backup.status(),
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
      await this.#runExclusively(() => signUser(this.#crypto, this.#options.run, userId), signal);
      return await this.verificationOf(userId);
    } catch (error) {
      throw setUpFailure(this.#userId, error);
    }
  }

  async #ensureConfigured(): Promise<void> {
    const { crossSigning, keyBackup } = this.#options;
    this.#secrets.refresh();
    const reset = await this.#unfinishedReset.get();
    if (reset && crossSigning) await this.#completeReset(reset);
    if (crossSigning) await this.#ensureCrossSigning();
    this.#options.onIdentityReady?.();
    if (keyBackup) await this.#backup.ensure();
    const requiredSecrets: SecretName[] = [
      ...(crossSigning ? crossSigningSecrets : []),
      ...(keyBackup ? ([backupSecret] as const) : []),
    ];
    if (!(await this.#secrets.has(...requiredSecrets))) {
      await this.#unlockOrCreateStorage();
      if (crossSigning && !(await this.#secrets.has(...crossSigningSecrets))) await this.#storePrivateKeys();
      await this.#crypto.bootstrapSecretStorage({}); // adds what is missing
    }
    this.#hasSecrets = await this.#secrets.has(...requiredSecrets);
    if (reset) await this.#unfinishedReset.set(undefined);
  }

  async #replaceIdentity(authenticate?: AuthUploadDeviceSigningKeys): Promise<void> {
    const hadKeys = await hasPrivateKeys(this.#backend);
    const { secretStorage } = this.#matrixClient;
    const keyId = await secretStorage.getDefaultKeyId();
    const from = await this.#masterKey();
    const earlier = await this.#unfinishedReset.get();
    // The interrupted reset may have put an empty secret storage in the place of the old one.
    const isEarlierOnes = earlier?.from === from && !(await this.#secrets.has(...crossSigningSecrets));
    const { fromKeyId = keyId } = (isEarlierOnes && earlier) || {};
    const noteReset = (to?: string) =>
      this.#unfinishedReset.set(from === undefined ? from : { from, fromKeyId, ...(to && { to }) });
    try {
      await this.#createStorage(() => noteReset()); // holds the present keys, as far as the device has them
    } catch (error) {
      this.#secrets.refresh();
      const replaced = secretStorage.getDefaultKeyId().then((now) => now !== keyId);
      // Nothing was replaced, so no set-up may go on with this reset.
      if (!(await replaced.catch(() => true))) await this.#unfinishedReset.set(earlier);
      throw error;
    }
    try {
      await this.#createCrossSigningKeys(authenticate, noteReset);
    } catch (error) {
      // The next set-up does the same. If there is still a note then, it completes the reset instead.
      const kept = this.#keepIdentity(hadKeys, fromKeyId).then(() => this.#unfinishedReset.set(undefined));
      await kept.catch(() => {});
      throw error;
    }
    await this.#endReset();
  }

  /** Makes the keys that a reset has published complete. */
  async #endReset(): Promise<void> {
    await this.#ensureSigned();
    if (this.#options.keyBackup) await this.#backup.create();
    this.#hasSecrets = true;
    await this.#unfinishedReset.set(undefined);
  }

  /**
   * Goes on with a reset that was interrupted, unless another client has replaced the keys meanwhile. If the reset has not
   * published new keys, it is repeated, but only if neither the device nor the application's recovery key leads to private
   * keys. Those of the device are put into another new storage if the recovery key does not open the present one.
   */
  async #completeReset({ from, to }: Reset): Promise<void> {
    await this.#crypto.userHasCrossSigningKeys(this.#userId, true); // also drops private keys that were not published
    const masterKey = await this.#masterKey();
    if (masterKey === to && (await hasPrivateKeys(this.#backend))) {
      await this.#unlockOrCreateStorage();
      await this.#storePrivateKeys();
      await this.#endReset();
    } else if (masterKey === from && (await this.#hasUselessKey())) {
      if (await hasPrivateKeys(this.#backend)) await this.#createStorage();
      else await this.#replaceIdentity();
    }
  }

  /** Whether the recovery key of the application leads to no private keys. False if it gives none at present. */
  async #hasUselessKey(): Promise<boolean> {
    const hasStorage = (await this.#matrixClient.secretStorage.getDefaultKeyId()) !== null;
    try {
      if (hasStorage && !(await this.#secrets.canUnlock())) return false;
    } catch (error) {
      if (isManagerError(error, 'ENCRYPTION_RECOVERY_KEY')) return true;
      throw error;
    }
    return !((await hasPrivateKeys(this.#backend)) || (await this.#secrets.has(...crossSigningSecrets)));
  }

  async #ensureCrossSigning(): Promise<void> {
    if (!(await areKeysPublished(this.#matrixClient))) {
      await this.#unlockOrCreateStorage();
      await this.#createCrossSigningKeys(authenticateFirstPublication(this.#matrixClient, this.#options.authenticate));
    } else {
      await this.#crypto.userHasCrossSigningKeys(this.#userId, true); // also drops private keys that do not match the published ones
      if (!(await hasPrivateKeys(this.#backend))) {
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

  /** @param onKeyStored - called when the application has the new recovery key, before it is used */
  async #createStorage(onKeyStored?: () => Promise<void>): Promise<void> {
    const newKey = await this.#crypto.createRecoveryKeyFromPassphrase();
    const { privateKey, encodedPrivateKey = '' } = newKey;
    const { clock } = this.#context;
    const [userId, secrets] = [this.#userId, [encodedPrivateKey, encodedPrivateKey.replaceAll(' ', '')]];
    const storeKey = (): void | Promise<void> => this.#options.onRecoveryKey(userId, encodedPrivateKey);
    await this.#secrets.keepPreviousKey(privateKey);
    await callApplication({ userId, clock }, 'onRecoveryKey', storeKey, secrets);
    await onKeyStored?.();
    this.#secrets.useKey(privateKey);
    await this.#crypto.bootstrapSecretStorage({
      createSecretStorageKey: async () => newKey,
      setupNewSecretStorage: true,
    });
  }

  /** @param onCreated - called with the public master key before it is published */
  async #createCrossSigningKeys(
    authenticate = this.#options.authenticate,
    onCreated?: (masterKey: string) => Promise<void>,
  ): Promise<void> {
    const { olmMachine, outgoingRequestProcessor } = this.#backend;
    // New ones also where a crash prevented the last ones from being published.
    const created = await olmMachine.bootstrapCrossSigning(true);
    // Read from the request: the library may have fetched those of a client that was quicker meanwhile.
    const { master_key: made } = JSON.parse(created.uploadSigningKeysRequest.body) as { master_key: { keys: unknown } };
    const masterKey = masterKeyOf(made);
    await this.#options.onKeysCreated?.(masterKey);
    await onCreated?.(masterKey);
    // The SDK replaces the stored keys before it publishes the new ones, which the homeserver may refuse.
    await this.#secrets.markReplaced(masterKey);
    try {
      for (const request of [
        created.uploadKeysRequest,
        created.uploadSigningKeysRequest,
        created.uploadSignaturesRequest,
      ])
        if (request) await outgoingRequestProcessor.makeOutgoingRequest(request, authenticate);
    } catch (error) {
      // Drops the new private keys if others are published. If none are, the SDK keeps them.
      await this.#crypto.userHasCrossSigningKeys(this.#userId, true).catch(() => {});
      // The homeserver may have taken the keys, and only its response was lost.
      if (!(await isPublished(this.#matrixClient, masterKey).catch(() => false))) throw error;
    }
    this.#publishedMasterKey = masterKey;
    if (await this.#secrets.canUnlock()) await this.#storePrivateKeys();
  }

  /** Goes on with the published keys, after the homeserver has refused new ones, or they could not be stored. */
  async #keepIdentity(hadKeys: boolean, oldKeyId: string | null): Promise<void> {
    const masterKey = await this.#masterKey();
    const arePublished = masterKey !== undefined && (await isPublished(this.#matrixClient, masterKey));
    if (hadKeys || (arePublished && (await hasPrivateKeys(this.#backend)))) await this.#ensureCrossSigning();
    else await this.#matrixClient.secretStorage.setDefaultKeyId(oldKeyId);
  }

  async #storePrivateKeys(): Promise<void> {
    const { secretStorage } = this.#matrixClient;
    const keys = await this.#backend.olmMachine.exportCrossSigningKeys();
    if (!keys) return;
    const { masterKey, self_signing_key: selfSigningKey, userSigningKey } = keys;
    keys.free();
    if (!masterKey || !selfSigningKey || !userSigningKey) return;
    // The master key is the last one: the mark that the stored keys are replaced goes with it.
    await secretStorage.store('m.cross_signing.self_signing', selfSigningKey);
    await secretStorage.store('m.cross_signing.user_signing', userSigningKey);
    await secretStorage.store('m.cross_signing.master', masterKey);
  }

  /** Whether the device is cross-signed, as far as the SDK knows. Makes no request. */
  async isSigned(): Promise<boolean> {
    const status = await this.#crypto.getDeviceVerificationStatus(this.#userId, this.#deviceId);
    return status?.signedByOwner ?? false;
  }

  async #masterKey(): Promise<string | undefined> {
    return (await userIdentity(this.#backend, this.#userId))?.masterKey;
  }

  async #state(): Promise<string> {
    return JSON.stringify([await this.#masterKey(), await this.isSigned(), await hasPrivateKeys(this.#backend)]);
  }

  /** Runs one step at a time. An abort ends the wait at once; a running step ends with the client's requests. */
  async #runExclusively(step: () => Promise<void>, signal: AbortSignal): Promise<void> {
    const before = this.#lastStep;
    const work = before
      .then(() => (signal.aborted ? undefined : step()))
      .finally(async () => {
        this.#secrets.forget();
        if (!signal.aborted) this.#knownState = await this.#state().catch(() => undefined);
      });
    this.#lastStep = work.catch(() => {});
    await orAborted(work, signal, OPERATION);
  }
}
