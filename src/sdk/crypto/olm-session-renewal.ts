import { randomUUID } from 'node:crypto';
import type { Clock } from '../../core/clock.js';
import type { Context } from '../../core/context.js';
import { ownProperty } from '../../core/own-property.js';
import { isObject } from '../../core/raw-event.js';
import { RecentMap } from '../../core/recent-map.js';
import type { OlmRecoveries, OlmRecovery } from '../../encryption/olm-recoveries.js';
import type { DeviceStore } from '../../encryption/store/device-store.js';
import type { CryptoBackend, WasmDevice } from './crypto-backend.js';
import { KeyResponses } from './key-responses.js';
import { byDevice, claimedDevices, claimOnly } from './key-claims.js';
import type { DeviceEntry } from './key-claims.js';
import type { ClientCrypto } from './open-crypto.js';
import { withDevice } from './wasm-device.js';
import { wasmUserId } from './wasm-user-id.js';

export interface OlmSessionRenewalOptions {
  readonly crypto: CryptoBackend;
  readonly run: ClientCrypto['run'];
  readonly store: Pick<DeviceStore, 'userId'>;
  readonly recoveries: OlmRecoveries;
  /** Aborted just before the client is stopped. */
  readonly ended: AbortSignal;
}

/** How long the homeserver waits for the homeservers of others, in milliseconds. */
const CLAIM_TIMEOUT_MS = 10_000;
/** A device list is fetched once an hour for a sender whose device is not known; again after five minutes if that failed. */
const QUERY_PERIOD_MS = 3_600_000;
const FAILED_QUERY_PERIOD_MS = 300_000;
/** Messages claim a key of a device that had none at most once in this time. It may have uploaded some since. */
const EXHAUSTED_MS = 300_000;
const MOST_REMEMBERED = 1_000;

/** A device that needs a new session. */
interface Target {
  readonly recovery: OlmRecovery;
  readonly deviceId: string;
}

/** Makes new Olm sessions with devices, and tells the devices of them by an `m.dummy` message. */
export class OlmSessionRenewal {
  readonly #clock: Clock;
  readonly #logger: Context['logger'];
  readonly #options: OlmSessionRenewalOptions;
  /** The last fetch of a user's devices, by user id; until when there is no other one. */
  readonly #queries = new RecentMap<{ readonly until: number; readonly hasSucceeded: boolean }>(MOST_REMEMBERED);
  readonly #responses: KeyResponses;
  readonly #missing: CryptoBackend['olmMachine']['getMissingSessions'];
  /** Devices that had no one-time key, by user id and device id; until when messages claim none. */
  readonly #exhaustedUntil = new RecentMap<number>(MOST_REMEMBERED);

  /** Wraps the claims of the machine: a device that it marks as broken would be in the claim of each message. */
  constructor({ clock, logger }: Pick<Context, 'clock' | 'logger'>, options: OlmSessionRenewalOptions) {
    this.#clock = clock;
    this.#logger = logger;
    this.#options = options;
    const { olmMachine } = options.crypto;
    this.#responses = new KeyResponses(olmMachine);
    this.#missing = olmMachine.getMissingSessions.bind(olmMachine);
    olmMachine.getMissingSessions = async (userIds) => {
      const request = await this.#missing(userIds);
      return request && claimOnly(request, (userId, deviceId) => this.#mayClaim(userId, deviceId));
    };
  }

  /** Whether a message may claim a key of the device. */
  #mayClaim(userId: string, deviceId: string): boolean {
    const key = keyOf(userId, deviceId);
    const now = this.#clock.now();
    const until = this.#exhaustedUntil.get(key);
    if (until === undefined) return true;
    if (until > now && until <= now + EXHAUSTED_MS) return false;
    this.#exhaustedUntil.set(key, now + EXHAUSTED_MS);
    return true;
  }

  /** Ids of a user's devices by their Curve25519 keys. Empty for an invalid user id. */
  async deviceIdsOf(userId: string): Promise<Map<string, string>> {
    const ids = new Map<string, string>();
    await this.#withDevices(userId, (devices) => {
      for (const device of devices) {
        const { deviceId, curve25519Key: key } = device;
        if (key) ids.set(key.toBase64(), deviceId.toString());
        deviceId.free();
        key?.free();
      }
    });
    return ids;
  }

  /** Rejects if a request fails. What was done is noted in the recoveries, so that it is not done again. */
  async renew(due: readonly OlmRecovery[]): Promise<void> {
    const targets = await this.#findDevices(due);
    await this.#claim(targets.filter(({ recovery }) => recovery.claimedAt === undefined));
    await this.#options.recoveries.save();
    await this.#sendDummies(targets.filter(({ recovery }) => recovery.claimedAt !== undefined));
    await this.#options.recoveries.save();
  }

  /** What fails for one user postpones only the recoveries of their devices: their homeserver may answer anything. */
  async #findDevices(due: readonly OlmRecovery[]): Promise<Target[]> {
    const targets: Target[] = [];
    for (const [userId, ofUser] of Map.groupBy(due, (recovery) => recovery.userId)) {
      try {
        targets.push(...(await this.#findDevicesOf(userId, ofUser)));
      } catch (error) {
        this.#warn(userId, error);
        for (const recovery of ofUser) this.#options.recoveries.postpone(recovery);
      }
    }
    return targets;
  }

  /** Ends the recovery of devices that do not exist. */
  async #findDevicesOf(userId: string, ofUser: readonly OlmRecovery[]): Promise<Target[]> {
    const { recoveries } = this.#options;
    const targets: Target[] = [];
    let ids = await this.deviceIdsOf(userId);
    let isListCurrent = true;
    if (!ofUser.every(({ senderKey }) => ids.has(senderKey))) {
      isListCurrent = await this.#queryDevices(userId);
      ids = await this.deviceIdsOf(userId);
    }
    const missing = ofUser.some(({ onlyIfMissing }) => onlyIfMissing) ? await this.#missingOf(userId) : new Set();
    for (const recovery of ofUser) {
      const deviceId = ids.get(recovery.senderKey);
      if (missing.has(deviceId)) recovery.onlyIfMissing = false;
      if (deviceId === undefined && isListCurrent) recoveries.drop(recovery);
      else if (deviceId === undefined) recoveries.postpone(recovery);
      else if (recovery.onlyIfMissing) recoveries.awaitMessage(recovery);
      else targets.push({ recovery, deviceId });
    }
    return targets;
  }

  /** Fetches the user's devices, unless that was done lately. @returns whether the last fetch has succeeded */
  async #queryDevices(userId: string): Promise<boolean> {
    const { olmMachine, outgoingRequestProcessor } = this.#options.crypto;
    const now = this.#clock.now();
    const last = this.#queries.get(userId);
    if (last && now < last.until) return last.hasSucceeded;
    const id = wasmUserId(this.#options.crypto, userId);
    if (!id) return true; // there is no such user
    this.#queries.set(userId, { until: now + FAILED_QUERY_PERIOD_MS, hasSucceeded: false });
    try {
      const request = olmMachine.queryKeysForUsers([id]); // the library frees the id
      await outgoingRequestProcessor.makeOutgoingRequest(request).finally(() => request.free?.());
    } catch (error) {
      this.#warn(userId, error);
      return false;
    }
    this.#queries.set(userId, { until: now + QUERY_PERIOD_MS, hasSucceeded: true });
    return true;
  }

  /** Ids of the user's devices that have no Olm session. */
  async #missingOf(userId: string): Promise<Set<unknown>> {
    const id = wasmUserId(this.#options.crypto, userId);
    const request = id && (await this.#missing([id])); // the library frees the id
    const ofUser = (request ? claimedDevices(request) : []).filter(([ownerId]) => ownerId === userId);
    request?.free?.();
    return new Set(ofUser.map(([, deviceId]) => deviceId));
  }

  /** Claims a one-time key of each device. The library makes a session with each key. */
  async #claim(targets: readonly Target[]): Promise<void> {
    if (targets.length === 0) return;
    const { outgoingRequestProcessor } = this.#options.crypto;
    const claims = targets.map(({ recovery, deviceId }) => [recovery.userId, deviceId, 'signed_curve25519'] as const);
    const body = JSON.stringify({ one_time_keys: byDevice(claims), timeout: CLAIM_TIMEOUT_MS });
    const path = '/_matrix/client/v3/keys/claim';
    const response: unknown = JSON.parse(await outgoingRequestProcessor.rawJsonRequest('POST', path, {}, body));
    for (const target of targets) {
      const { recovery, deviceId } = target;
      const key = ownProperty(ownProperty(ownProperty(response, 'one_time_keys'), recovery.userId), deviceId);
      const hasKey = isObject(key) && Object.keys(key).length > 0;
      if (hasKey && (await this.#makeSession(target, key))) this.#options.recoveries.noteClaim(recovery);
      else this.#noteFailure(target);
    }
  }

  /** Whether the library has accepted the key. */
  async #makeSession({ recovery, deviceId }: Target, key: object): Promise<boolean> {
    try {
      await this.#responses.makeSession(recovery.userId, deviceId, key);
      this.#exhaustedUntil.delete(keyOf(recovery.userId, deviceId));
      return true;
    } catch (error) {
      this.#warn(recovery.userId, error);
      return false;
    }
  }

  async #sendDummies(targets: readonly Target[]): Promise<void> {
    const { crypto, store, recoveries } = this.#options;
    const messages: DeviceEntry[] = [];
    const told: Target[] = [];
    for (const target of targets) {
      const content = await this.#encryptDummy(target);
      if (content) {
        messages.push([target.recovery.userId, target.deviceId, content]);
        told.push(target);
      } else {
        this.#noteFailure(target);
      }
    }
    if (told.length === 0) return;
    const path = `/_matrix/client/v3/sendToDevice/m.room.encrypted/${randomUUID()}`;
    await crypto.outgoingRequestProcessor.rawJsonRequest(
      'PUT',
      path,
      {},
      JSON.stringify({ messages: byDevice(messages) }),
    );
    for (const { recovery, deviceId } of told) {
      recoveries.end(recovery);
      const details = { userId: store.userId, peerId: recovery.userId, peerDeviceId: deviceId };
      this.#logger.info(details, 'a broken Olm session was replaced');
    }
  }

  /** Undefined if the message would not be in a new session, as after a claimed key with a wrong signature. */
  async #encryptDummy({ recovery, deviceId }: Target): Promise<object | undefined> {
    const { run, crypto } = this.#options;
    const { userId, senderKey } = recovery;
    const encrypt = async (device: WasmDevice | undefined): Promise<object | undefined> => {
      if (!device) return undefined;
      const json = await run('encryptToDeviceEvent', () => device.encryptToDeviceEvent('m.dummy', {}));
      const content = JSON.parse(json) as { readonly ciphertext?: unknown };
      const isInNewSession = ownProperty(ownProperty(content.ciphertext, senderKey), 'type') === 0;
      return isInNewSession ? content : undefined;
    };
    return withDevice(crypto, { userId, deviceId }, encrypt).catch(() => undefined); // the device has no session at all
  }

  /** Frees the devices afterwards: they hold the memory of the WebAssembly. */
  async #withDevices<T>(userId: string, use: (devices: readonly WasmDevice[]) => T | Promise<T>): Promise<T> {
    const id = wasmUserId(this.#options.crypto, userId);
    const list = id && (await this.#options.crypto.olmMachine.getUserDevices(id));
    const devices = list?.devices() ?? [];
    try {
      return await use(devices);
    } finally {
      for (const object of [...devices, list, id]) object?.free();
    }
  }

  /** Reports what failed for one user. Rethrows what failed because the client ends. */
  #warn(peerId: string, error: unknown): void {
    const { ended, store } = this.#options;
    ended.throwIfAborted();
    this.#logger.warn({ userId: store.userId, peerId, err: error }, 'an Olm session was not replaced; it is retried');
  }

  #noteFailure({ recovery, deviceId }: Target): void {
    this.#options.recoveries.noteFailure(recovery);
    this.#exhaustedUntil.set(keyOf(recovery.userId, deviceId), this.#clock.now() + EXHAUSTED_MS);
  }
}

function keyOf(userId: string, deviceId: string): string {
  return JSON.stringify([userId, deviceId]);
}
