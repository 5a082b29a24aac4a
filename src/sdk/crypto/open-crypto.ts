import type { MatrixClient, MatrixEvent } from 'matrix-js-sdk';
import { orTimeout } from '../../core/abort.js';
import type { Clock } from '../../core/clock.js';
import { isManagerError, MatrixClientManagerError } from '../../core/errors.js';
import { nextEventLoopTurn } from '../../core/event-loop.js';
import { isError } from '../../core/is-error.js';
import type { Logger } from '../../core/logger.js';
import { assertCryptoSurface } from '../private-surface.js';
import { cryptoBackend, KEYS_UPLOAD } from './crypto-backend.js';
import type { CryptoBackend } from './crypto-backend.js';
import { uploadKeysUntilEnd } from './backup-uploads.js';
import { repeatUntil } from './crypto-requests.js';
import { containPanics } from './crypto-wasm.js';
import { damagedError } from '../../encryption/store/device-keys.js';
import type { DeviceStore } from '../../encryption/store/device-store.js';
import { takeLiveEvent } from './live-verification.js';
import { MachineGuard } from './machine-guard.js';

export interface OpenCryptoOptions {
  /** Made, and not started yet. */
  readonly matrixClient: MatrixClient;
  readonly store: DeviceStore;
  /** Whether the client resumes from a sync position; without one it has missed which devices have changed. */
  readonly resumes: boolean;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Time for opening, in milliseconds. */
  readonly startTimeoutMs: number;
  /** Time for one call of the crypto library, in milliseconds. @default 30_000 */
  readonly callTimeoutMs?: number;
  /** Called once when the crypto library has failed the client for good: stop it, and start it afresh. */
  readonly onFault: (error: MatrixClientManagerError) => void;
}

/** Encryption of one client. */
export interface ClientCrypto {
  /** To be awaited after the client's requests were aborted and before `stopClient()`. Idempotent. */
  readonly settle: () => Promise<void>;
}

const CALL_TIMEOUT_MS = 30_000;
const SETTLE_TIMEOUT_MS = 5_000;

/**
 * Gives a client end-to-end encryption on the keys in `store`. Rejects, and leaves the store to be closed by the
 * caller, with `ENCRYPTION_STORE_ROLLED_BACK` where the homeserver knows keys of the device and the store none,
 * `ENCRYPTION_DEVICE_MISMATCH` and `ENCRYPTION_STORE_DAMAGED` where the SDK does not get along with what is stored,
 * `TIMEOUT`, or what the store or the homeserver fails with.
 */
export async function openCrypto(options: OpenCryptoOptions): Promise<ClientCrypto> {
  const { matrixClient, store, resumes, clock, logger, startTimeoutMs, onFault } = options;
  const { userId } = store;
  const wasNew = store.isNew;
  const known = await keysOnHomeserver(matrixClient, store);
  if (wasNew && known) throw lostError(store);
  const { cryptoDatabasePrefix, storageKey } = store;
  await containFirstCheck();
  const init = (): Promise<void> => matrixClient.initRustCrypto({ cryptoDatabasePrefix, storageKey });
  const opening = containPanics(logger, init).then(() => {
    assertCryptoSurface(matrixClient);
    const crypto = cryptoBackend(matrixClient);
    const { callTimeoutMs = CALL_TIMEOUT_MS } = options;
    const guard = new MachineGuard(crypto.olmMachine, { userId, clock, logger, callTimeoutMs, onFault, store });
    let settled: Promise<void> | undefined;
    const backupCheck = (): Promise<unknown>[] =>
      [crypto.backupManager.keyBackupCheckInProgress].filter((check) => check !== null);
    const ended = new AbortController();
    repeatUntil(ended.signal, crypto, clock);
    uploadKeysUntilEnd({ userId, crypto, clock, logger, ended: ended.signal });
    const settle = (): Promise<void> => {
      ended.abort();
      return (settled ??= guard.settle(SETTLE_TIMEOUT_MS, backupCheck));
    };
    return { crypto, settle };
  });
  try {
    const opened = await orTimeout(opening, clock, startTimeoutMs, () => tooSlow(userId, startTimeoutMs));
    if (!store.isUsed) throw notUsedError(userId);
    catchUnawaitedSdkCalls(opened.crypto);
    if (!wasNew) await refuseForgottenDevice(opened.crypto, store, known);
    if (!resumes && !wasNew) await opened.crypto.markAllTrackedUsersAsDirty();
    return { settle: opened.settle };
  } catch (error) {
    void closeLate(opening);
    throw toManagerError(error, store);
  }
}

/**
 * Rejects with `ENCRYPTION_DEVICE_MISMATCH` where the homeserver has no keys of the device any more, or other ones;
 * with `NETWORK` where it cannot be asked.
 */
export async function assertKnownDevice(matrixClient: MatrixClient, store: DeviceStore): Promise<void> {
  try {
    await refuseForgottenDevice(cryptoBackend(matrixClient), store, await keysOnHomeserver(matrixClient, store));
  } catch (error) {
    if (isManagerError(error)) throw error;
    const { userId } = store;
    throw new MatrixClientManagerError('NETWORK', `asking for the keys of ${userId} failed`, { userId, cause: error });
  }
}

/** The keys that others see of the device. */
async function keysOnHomeserver(
  matrixClient: MatrixClient,
  { userId, deviceId }: DeviceStore,
): Promise<Readonly<Record<string, string>> | undefined> {
  const { device_keys: deviceKeys } = await matrixClient.downloadKeysForUsers([userId]);
  return deviceKeys?.[userId]?.[deviceId]?.keys;
}

/** A device that was deleted and logged in anew has no keys for others to send it any, and the SDK gives it none. */
async function refuseForgottenDevice(
  { olmMachine }: CryptoBackend,
  { userId, deviceId }: DeviceStore,
  known: Readonly<Record<string, string>> | undefined,
): Promise<void> {
  if (known) {
    if (known[`ed25519:${deviceId}`] === olmMachine.identityKeys.ed25519.toBase64()) return;
  } else {
    const requests = await olmMachine.outgoingRequests();
    const areOnTheirWay = requests.some(({ type, body = '{}' }) => {
      return type === KEYS_UPLOAD && (JSON.parse(body) as { device_keys?: object | null }).device_keys;
    });
    if (areOnTheirWay) return;
  }
  const what = known ? 'has other keys' : 'has no keys any more';
  const message =
    `the homeserver ${what} of ${userId} on device ${deviceId}: it was deleted and made again. ` +
    'Log in as a new device and restore from the key backup';
  throw new MatrixClientManagerError('ENCRYPTION_DEVICE_MISMATCH', message, { userId });
}

/** The same call, whose failure is nobody's surprise: who waits for it is told all the same. */
function handled<Args extends unknown[], T>(call: (...args: Args) => Promise<T>): (...args: Args) => Promise<T> {
  return (...args) => {
    const result = call(...args);
    result.catch(() => {});
    return result;
  };
}

/** Of what the SDK begins in places where nobody waits for it, a failure would end the process. */
function catchUnawaitedSdkCalls(crypto: CryptoBackend): void {
  const { backupManager } = crypto;
  Object.assign(backupManager, {
    maybeUploadKey: handled(backupManager.maybeUploadKey.bind(backupManager)),
    checkKeyBackupAndEnable: handled(backupManager.checkKeyBackupAndEnable.bind(backupManager)),
  });
  Object.assign(crypto, {
    forceDiscardSession: handled(crypto.forceDiscardSession.bind(crypto)),
    onLiveEventFromSync: handled((event: MatrixEvent) => takeLiveEvent(crypto, event)),
    onCryptoEvent: takeChangedSettings(crypto),
  });
}

/**
 * The SDK throws where the settings of an encrypted room change, also for a word in them that says nothing to it: the
 * sync would end there, and the state of all rooms behind it would never be known. What it has accepted counts.
 */
function takeChangedSettings(crypto: CryptoBackend): CryptoBackend['onCryptoEvent'] {
  const take = crypto.onCryptoEvent.bind(crypto);
  return async (room, event) => {
    try {
      await take(room, event);
    } catch {
      Object.assign(crypto.roomEncryptors[room.roomId] ?? {}, { encryptionSettings: event.getContent() });
    }
  };
}

let firstCheckContained: Promise<void> | undefined;

/** The SDK's first look at the key backup begins in a constructor, and any client of the user may have made that. */
function containFirstCheck(): Promise<void> {
  firstCheckContained ??= import('matrix-js-sdk/lib/rust-crypto/rust-crypto.js').then(({ RustCrypto }) => {
    const methods = RustCrypto.prototype as unknown as { checkKeyBackupAndEnable: (this: object) => Promise<unknown> };
    const check = methods.checkKeyBackupAndEnable;
    methods.checkKeyBackupAndEnable = function checkKeyBackupAndEnable() {
      return handled(check.bind(this))();
    };
  });
  return firstCheckContained;
}

/** A device whose keys others have seen must not come with new ones: they would refuse them. */
function lostError({ userId, deviceId }: DeviceStore): MatrixClientManagerError {
  return new MatrixClientManagerError(
    'ENCRYPTION_STORE_ROLLED_BACK',
    `the homeserver has keys of ${userId} on device ${deviceId}, and the crypto store has none: it was lost. ` +
      'Log in as a new device and restore from the key backup',
    { userId },
  );
}

function tooSlow(userId: string, timeoutMs: number): MatrixClientManagerError {
  const message = `opening the crypto store of ${userId} took longer than ${timeoutMs} ms; startTimeoutMs allows more`;
  return new MatrixClientManagerError('TIMEOUT', message, { userId });
}

/** Ends what has opened although nobody waits for it any more. */
async function closeLate(opening: Promise<{ readonly crypto: CryptoBackend } & ClientCrypto>): Promise<void> {
  try {
    const opened = await opening;
    await opened.settle();
    opened.crypto.stop();
    await nextEventLoopTurn();
  } catch {
    // it did not open: there is nothing to end, and why was told
  }
}

function toManagerError(error: unknown, store: DeviceStore): MatrixClientManagerError {
  if (store.failure) return store.failure;
  if (isManagerError(error)) return error;
  const { userId, deviceId } = store;
  const message = isError(error) ? error.message : String(error);
  if (message.includes("account in the store doesn't match")) {
    const text = `the keys that are stored for ${userId} belong to another device than ${deviceId}`;
    return new MatrixClientManagerError('ENCRYPTION_DEVICE_MISMATCH', text, { userId, cause: error });
  }
  if (message.includes('failed to be decrypted')) return damagedError(store, 'the SDK cannot unseal them', error);
  const text = `encryption could not be started for ${userId}: ${message}`;
  return new MatrixClientManagerError('CLIENT_FAILED', text, { userId, cause: error });
}

function notUsedError(userId: string): MatrixClientManagerError {
  return new MatrixClientManagerError(
    'UNSUPPORTED',
    `the SDK keeps the keys of ${userId} elsewhere: globalThis.indexedDB was replaced while clients with encryption run`,
    { userId },
  );
}
