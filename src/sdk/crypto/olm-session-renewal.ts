import { randomUUID } from 'node:crypto';
import type { Clock } from '../../core/clock.js';
import type { Context } from '../../core/context.js';
import { ownProperty } from '../../core/own-property.js';
import { isObject } from '../../core/raw-event.js';
import { RecentMap } from '../../core/recent-map.js';
import type { OlmRecoveries, OlmRecovery } from '../../encryption/olm-recoveries.js';
import type { DeviceStore } from '../../encryption/store/device-store.js';
import { KEYS_CLAIM, wasmUserIdClass } from './crypto-backend.js';
import type { CryptoBackend, WasmDevice, WasmUserId } from './crypto-backend.js';
import { byDevice, claimedDevices, claimOnly } from './key-claims.js';
import type { DeviceEntry } from './key-claims.js';
import type { ClientCrypto } from './open-crypto.js';

export interface OlmSessionRenewalOptions {
  readonly crypto: CryptoBackend;
  readonly run: ClientCrypto['run'];
  readonly store: Pick<DeviceStore, 'userId'>;
  readonly recoveries: OlmRecoveries;
}

/** How long the homeserver waits for the homeservers of others, in milliseconds. */
const CLAIM_TIMEOUT_MS = 10_000;
/** A device list is fetched once an hour for a sender whose device is not known. */
const QUERY_PERIOD_MS = 3_600_000;
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
  /** By user id. */
  readonly #queriedAt = new RecentMap<number>(MOST_REMEMBERED);
  /** Devices that had no one-time key, by user id and device id; until when none is claimed. */
  readonly #exhaustedUntil = new RecentMap<number>(MOST_REMEMBERED);

  /** Wraps the claims of the machine: a device that it marks as broken would be in the claim of each message. */
  constructor({ clock, logger }: Pick<Context, 'clock' | 'logger'>, options: OlmSessionRenewalOptions) {
    this.#clock = clock;
    this.#logger = logger;
    this.#options = options;
    const { olmMachine } = options.crypto;
    const missing = olmMachine.getMissingSessions.bind(olmMachine);
    olmMachine.getMissingSessions = async (userIds) => {
      const request = await missing(userIds);
      const now = this.#clock.now();
      const isClaimed = (userId: string, deviceId: string): boolean =>
        (this.#exhaustedUntil.get(keyOf(userId, deviceId)) ?? 0) <= now;
      return request && claimOnly(request, isClaimed);
    };
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

  /** Ends the recovery of devices that are not known, and of those that need none. */
  async #findDevices(due: readonly OlmRecovery[]): Promise<Target[]> {
    const { recoveries } = this.#options;
    const targets: Target[] = [];
    for (const [userId, ofUser] of Map.groupBy(due, (recovery) => recovery.userId)) {
      let ids = await this.deviceIdsOf(userId);
      const areKnown = ofUser.every(({ senderKey }) => ids.has(senderKey));
      if (!areKnown && (await this.#queryDevices(userId))) ids = await this.deviceIdsOf(userId);
      const missing = ofUser.some(({ onlyIfMissing }) => onlyIfMissing) ? await this.#missingOf(userId) : new Set();
      for (const recovery of ofUser) {
        const deviceId = ids.get(recovery.senderKey);
        const isNeeded = !recovery.onlyIfMissing || recovery.claimedAt !== undefined || missing.has(deviceId);
        if (deviceId === undefined) recoveries.end(recovery);
        else if (!isNeeded) recoveries.drop(recovery);
        else targets.push({ recovery, deviceId });
      }
    }
    return targets;
  }

  /** Fetches the user's devices, at most once an hour. @returns whether it did */
  async #queryDevices(userId: string): Promise<boolean> {
    const { olmMachine, outgoingRequestProcessor } = this.#options.crypto;
    const now = this.#clock.now();
    const id = this.#wasmUserId(userId);
    if (!id || now < (this.#queriedAt.get(userId) ?? -Infinity) + QUERY_PERIOD_MS) return false;
    await outgoingRequestProcessor.makeOutgoingRequest(olmMachine.queryKeysForUsers([id]));
    this.#queriedAt.set(userId, now);
    return true;
  }

  /** Ids of the user's devices that have no Olm session. */
  async #missingOf(userId: string): Promise<Set<unknown>> {
    const id = this.#wasmUserId(userId);
    const request = id && (await this.#options.crypto.olmMachine.getMissingSessions([id]));
    const ofUser = (request ? claimedDevices(request) : []).filter(([ownerId]) => ownerId === userId);
    return new Set(ofUser.map(([, deviceId]) => deviceId));
  }

  /** Claims a one-time key of each device. The library makes a session with each key. */
  async #claim(targets: readonly Target[]): Promise<void> {
    if (targets.length === 0) return;
    const { olmMachine, outgoingRequestProcessor } = this.#options.crypto;
    const claims = targets.map(({ recovery, deviceId }) => [recovery.userId, deviceId, 'signed_curve25519'] as const);
    const body = JSON.stringify({ one_time_keys: byDevice(claims), timeout: CLAIM_TIMEOUT_MS });
    const path = '/_matrix/client/v3/keys/claim';
    const response: unknown = JSON.parse(await outgoingRequestProcessor.rawJsonRequest('POST', path, {}, body));
    // Passes on only keys that were asked for: the library would make a session with each device in the response.
    const keys: DeviceEntry[] = [];
    const keyed: OlmRecovery[] = [];
    for (const target of targets) {
      const { recovery, deviceId } = target;
      const key = ownProperty(ownProperty(ownProperty(response, 'one_time_keys'), recovery.userId), deviceId);
      if (isObject(key) && Object.keys(key).length > 0) {
        keys.push([recovery.userId, deviceId, key]);
        keyed.push(recovery);
      } else {
        this.#noteFailure(target);
      }
    }
    if (keyed.length === 0) return;
    const received = JSON.stringify({ one_time_keys: byDevice(keys), failures: {} });
    await olmMachine.markRequestAsSent(randomUUID(), KEYS_CLAIM, received);
    for (const recovery of keyed) this.#options.recoveries.noteClaim(recovery);
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
    const { run } = this.#options;
    try {
      return await this.#withDevices(recovery.userId, async (devices) => {
        const device = devices.find((one) => idOf(one) === deviceId);
        if (!device) return undefined;
        const json = await run('encryptToDeviceEvent', () => device.encryptToDeviceEvent('m.dummy', {}));
        const content = JSON.parse(json) as { readonly ciphertext?: unknown };
        const isInNewSession = ownProperty(ownProperty(content.ciphertext, recovery.senderKey), 'type') === 0;
        return isInNewSession ? content : undefined;
      });
    } catch {
      return undefined; // the device has no session at all
    }
  }

  /** Frees the devices afterwards: they hold the memory of the WebAssembly. */
  async #withDevices<T>(userId: string, use: (devices: readonly WasmDevice[]) => T | Promise<T>): Promise<T> {
    const id = this.#wasmUserId(userId);
    const list = id && (await this.#options.crypto.olmMachine.getUserDevices(id));
    const devices = list?.devices() ?? [];
    try {
      return await use(devices);
    } finally {
      for (const device of devices) device.free();
      list?.free();
    }
  }

  #wasmUserId(userId: string): WasmUserId | undefined {
    const UserId = wasmUserIdClass(this.#options.crypto);
    try {
      return new UserId(userId);
    } catch {
      return undefined; // the homeserver may name any sender
    }
  }

  #noteFailure({ recovery, deviceId }: Target): void {
    this.#options.recoveries.noteFailure(recovery);
    this.#exhaustedUntil.set(keyOf(recovery.userId, deviceId), recovery.nextAttemptAt);
  }
}

function keyOf(userId: string, deviceId: string): string {
  return JSON.stringify([userId, deviceId]);
}

function idOf(device: WasmDevice): string {
  const { deviceId } = device;
  const id = deviceId.toString();
  deviceId.free();
  return id;
}
