import type { MatrixClient } from 'matrix-js-sdk';
import { orTimeout } from '../../core/abort.js';
import type { Context } from '../../core/context.js';
import { isManagerError, MatrixClientManagerError } from '../../core/errors.js';
import { nextEventLoopTurn } from '../../core/event-loop.js';
import { isError } from '../../core/is-error.js';
import { ownProperty } from '../../core/own-property.js';
import { isObject } from '../../core/raw-event.js';
import { assertCryptoSurface } from '../private-surface.js';
import { cryptoBackend, KEYS_UPLOAD } from './crypto-backend.js';
import type { CryptoBackend } from './crypto-backend.js';
import { replaceBackupUploads } from './backup-uploads.js';
import { replaceRequestRetries } from './crypto-requests.js';
import { containPanics } from './crypto-wasm.js';
import { damagedError } from '../../encryption/store/key-failures.js';
import type { DeviceStore } from '../../encryption/store/device-store.js';
import { MachineGuard } from './machine-guard.js';

export interface OpenCryptoOptions {
  /** Must not be started yet. */
  readonly matrixClient: MatrixClient;
  readonly store: DeviceStore;
  /** Whether the client resumes from a sync position. Without one it has missed changes of device lists. */
  readonly resumes: boolean;
  /** Time for one call of the crypto library, in milliseconds. @default 30_000 */
  readonly callTimeoutMs?: number;
  /** Called once when the crypto library has failed permanently. The client has to be stopped and restarted. */
  readonly onFault: (error: MatrixClientManagerError) => void;
}

/** The open encryption of one client. */
export interface ClientCrypto {
  /** Makes a call of the crypto library that is no method of its machine. Settles when its changes are durable. */
  readonly run: MachineGuard['run'];
  /** Await it after the client's requests were aborted and before `stopClient()`. Idempotent. */
  readonly shutDown: () => Promise<void>;
}

const CALL_TIMEOUT_MS = 30_000;
const SETTLE_TIMEOUT_MS = 5_000;

/**
 * Opens end-to-end encryption for a client, with the keys in `store`. Rejects with `ENCRYPTION_STORE_ROLLED_BACK` if
 * the homeserver has keys of the device and the store has none; with `ENCRYPTION_DEVICE_MISMATCH` or
 * `ENCRYPTION_STORE_DAMAGED` if the SDK cannot use the stored keys; with `TIMEOUT`; or with the error of the store or
 * the homeserver. The caller closes the store.
 */
export async function openCrypto(context: Context, options: OpenCryptoOptions): Promise<ClientCrypto> {
  const { matrixClient, store, resumes, callTimeoutMs = CALL_TIMEOUT_MS, onFault } = options;
  const { clock, limits } = context;
  const { userId } = store;
  const { wasNew } = store;
  const publishedKey = await keyOnHomeserver(matrixClient, store);
  if (wasNew && publishedKey !== undefined) throw lostKeysError(store);
  const { cryptoDatabasePrefix, storageKey } = store;
  await catchFirstBackupCheck();
  // Without a storage key the SDK does not encrypt its records. The store encrypts all that leaves the process.
  const sealing = storageKey && { storageKey };
  const init = (): Promise<void> => matrixClient.initRustCrypto({ cryptoDatabasePrefix, ...sealing });
  const opening = containPanics(context.logger, init).then(() => {
    assertCryptoSurface(matrixClient);
    const crypto = cryptoBackend(matrixClient);
    const guard = new MachineGuard(context, crypto.olmMachine, { userId, callTimeoutMs, onFault, store });
    let settled: Promise<void> | undefined;
    const backupCheck = (): Promise<unknown>[] =>
      [crypto.backupManager.keyBackupCheckInProgress].filter((check) => check !== null);
    const ended = new AbortController();
    replaceRequestRetries(ended.signal, crypto, clock);
    replaceBackupUploads(context, { userId, crypto, ended: ended.signal });
    const shutDown = (): Promise<void> => {
      ended.abort();
      return (settled ??= guard.shutDown(SETTLE_TIMEOUT_MS, backupCheck));
    };
    return { crypto, shutDown, run: guard.run.bind(guard) };
  });
  try {
    const opened = await orTimeout(opening, clock, limits.startTimeoutMs, () => {
      return openTimeoutError(userId, limits.startTimeoutMs);
    });
    if (!store.isUsed) throw notUsedError(userId);
    catchUnawaitedSdkCalls(opened.crypto);
    if (!wasNew) await assertSameKeys(opened.crypto, store, publishedKey);
    if (!resumes && !wasNew) await opened.crypto.markAllTrackedUsersAsDirty();
    return { shutDown: opened.shutDown, run: opened.run };
  } catch (error) {
    void closeWhenOpen(opening);
    throw toManagerError(error, store);
  }
}

/**
 * Checks that the homeserver still has this device's keys. Rejects with `ENCRYPTION_DEVICE_MISMATCH` if it has none or
 * different ones, and with `NETWORK` if the request fails.
 */
export async function assertKnownDevice(matrixClient: MatrixClient, store: DeviceStore): Promise<void> {
  try {
    await assertSameKeys(cryptoBackend(matrixClient), store, await keyOnHomeserver(matrixClient, store));
  } catch (error) {
    if (isManagerError(error)) throw error;
    const { userId } = store;
    throw new MatrixClientManagerError('NETWORK', `asking for the keys of ${userId} failed`, { userId, cause: error });
  }
}

/**
 * The device's Ed25519 key as the homeserver publishes it, or undefined if it publishes none. Rejects if the response does
 * not say so clearly: a device without keys is given up.
 */
async function keyOnHomeserver(
  matrixClient: MatrixClient,
  { userId, deviceId }: DeviceStore,
): Promise<string | undefined> {
  const response = await matrixClient.downloadKeysForUsers([userId]);
  const { device_keys: deviceKeys, failures } = response as unknown as Record<string, unknown>;
  const unclear = (reason: string): MatrixClientManagerError => {
    const message = `asking for the keys of ${userId} failed: ${reason}`;
    return new MatrixClientManagerError('INVALID_RESPONSE', message, { userId });
  };
  const server = userId.slice(userId.indexOf(':') + 1);
  if (ownProperty(failures, server) !== undefined) {
    throw unclear(`the homeserver says that ${server} failed`);
  }
  if (!isObject(deviceKeys)) throw unclear('the response has no `device_keys`');
  const devices = ownProperty(deviceKeys, userId) ?? {};
  const device = isObject(devices) ? (ownProperty(devices, deviceId) ?? undefined) : null;
  if (device === undefined) return undefined;
  const key = ownProperty(ownProperty(device, 'keys'), `ed25519:${deviceId}`);
  if (typeof key !== 'string') throw unclear(`the response has no Ed25519 key of ${deviceId}`);
  return key;
}

/** The SDK does not upload keys again for a device that was deleted and created again by a login. */
async function assertSameKeys(
  { olmMachine }: CryptoBackend,
  { userId, deviceId }: DeviceStore,
  known: string | undefined,
): Promise<void> {
  if (known !== undefined) {
    if (known === olmMachine.identityKeys.ed25519.toBase64()) return;
  } else {
    const requests = await olmMachine.outgoingRequests();
    const isUploading = requests.some(({ type, body = '{}' }) => {
      return type === KEYS_UPLOAD && (JSON.parse(body) as { device_keys?: object | null }).device_keys;
    });
    if (isUploading) return;
  }
  const finding = known !== undefined ? 'has different keys' : 'no longer has the keys';
  const message =
    `the homeserver ${finding} of ${userId} on device ${deviceId}: the device was deleted and created again. ` +
    'Log in as a new device and restore from the key backup';
  throw new MatrixClientManagerError('ENCRYPTION_DEVICE_MISMATCH', message, { userId });
}

/** Marks rejections of `call` as handled. A caller that awaits the promise still gets the rejection. */
function withHandledRejection<Args extends unknown[], T>(
  call: (...args: Args) => Promise<T>,
): (...args: Args) => Promise<T> {
  return (...args) => {
    const result = call(...args);
    result.catch(() => {});
    return result;
  };
}

/** Handles rejections of promises that the SDK starts and does not await. Unhandled, they would end the process. */
function catchUnawaitedSdkCalls(crypto: CryptoBackend): void {
  const { backupManager } = crypto;
  Object.assign(backupManager, {
    maybeUploadKey: withHandledRejection(backupManager.maybeUploadKey.bind(backupManager)),
    checkKeyBackupAndEnable: withHandledRejection(backupManager.checkKeyBackupAndEnable.bind(backupManager)),
  });
  Object.assign(crypto, {
    forceDiscardSession: withHandledRejection(crypto.forceDiscardSession.bind(crypto)),
  });
}

let firstCheckWrapped: Promise<void> | undefined;

/** Wraps the prototype: the SDK's constructor starts the first check of the key backup and does not await it. */
function catchFirstBackupCheck(): Promise<void> {
  firstCheckWrapped ??= import('matrix-js-sdk/lib/rust-crypto/rust-crypto.js').then(({ RustCrypto }) => {
    const methods = RustCrypto.prototype as unknown as { checkKeyBackupAndEnable: (this: object) => Promise<unknown> };
    const check = methods.checkKeyBackupAndEnable;
    methods.checkKeyBackupAndEnable = function checkKeyBackupAndEnable() {
      return withHandledRejection(check.bind(this))();
    };
  });
  return firstCheckWrapped;
}

/** A device whose keys other devices know must not publish new ones: other devices would reject them. */
function lostKeysError({ userId, deviceId }: DeviceStore): MatrixClientManagerError {
  return new MatrixClientManagerError(
    'ENCRYPTION_STORE_ROLLED_BACK',
    `the homeserver has keys of ${userId} on device ${deviceId}, but the crypto store has none: they were lost. ` +
      'Log in as a new device and restore from the key backup',
    { userId },
  );
}

function openTimeoutError(userId: string, timeoutMs: number): MatrixClientManagerError {
  const message = `opening the crypto store of ${userId} took longer than ${timeoutMs} ms; raise startTimeoutMs`;
  return new MatrixClientManagerError('TIMEOUT', message, { userId });
}

/** Stops encryption that finishes opening after `openCrypto()` has rejected. */
async function closeWhenOpen(opening: Promise<{ readonly crypto: CryptoBackend } & ClientCrypto>): Promise<void> {
  try {
    const opened = await opening;
    await opened.shutDown();
    opened.crypto.stop();
    await nextEventLoopTurn();
  } catch {
    // it did not open, so there is nothing to stop; `openCrypto()` has reported the error
  }
}

function toManagerError(error: unknown, store: DeviceStore): MatrixClientManagerError {
  if (store.failure) return store.failure;
  if (isManagerError(error)) return error;
  const { userId, deviceId } = store;
  const message = isError(error) ? error.message : String(error);
  if (message.includes("account in the store doesn't match")) {
    const text = `the stored keys of ${userId} belong to another device than ${deviceId}`;
    return new MatrixClientManagerError('ENCRYPTION_DEVICE_MISMATCH', text, { userId, cause: error });
  }
  if (message.includes('failed to be decrypted')) return damagedError(store, 'the SDK cannot decrypt them', error);
  const text = `starting encryption for ${userId} failed: ${message}`;
  return new MatrixClientManagerError('CLIENT_FAILED', text, { userId, cause: error });
}

function notUsedError(userId: string): MatrixClientManagerError {
  return new MatrixClientManagerError(
    'UNSUPPORTED',
    `the SDK does not use the crypto store for ${userId}: globalThis.indexedDB was replaced while a client was running`,
    { userId },
  );
}
