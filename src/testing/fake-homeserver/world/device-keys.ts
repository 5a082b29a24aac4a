import { canonicalJson, signedPart } from '../../canonical-json.js';
import type { JsonObject } from '../json.js';
import { objectOrEmpty } from '../json.js';
import { MatrixError } from '../matrix-error.js';
import { publicKeyOf } from './signatures.js';

/** The uploaded keys of a device. One-time and fallback keys are stored by `<algorithm>:<id>`. */
interface UploadedKeys {
  identity?: JsonObject;
  readonly oneTime: Map<string, JsonObject>;
  readonly fallback: Map<string, { readonly key: JsonObject; used: boolean }>;
}

/** The cross-signing keys of a user, by purpose: `master`, `self_signing`, `user_signing`. */
type CrossSigningKeys = Partial<Record<CrossSigningPurpose, JsonObject>>;
export type CrossSigningPurpose = 'master' | 'self_signing' | 'user_signing';

/** The public keys of devices and users. */
export class DeviceKeys {
  readonly #byUser = new Map<string, Map<string, UploadedKeys>>();
  readonly #crossSigning = new Map<string, CrossSigningKeys>();
  /** Signatures added after the upload, by signer and signed key. */
  readonly #signatures = new Map<string, JsonObject>();
  /** By signer: the users whose keys they have signed, with the stream position. */
  readonly #signedAt = new Map<string, Map<string, number>>();
  /** By user: the stream position of the last change of their keys. */
  readonly #changedAt = new Map<string, number>();

  /** The device's identity keys, with the signatures of its user. */
  identity(userId: string, deviceId: string): JsonObject | undefined {
    const identity = this.#byUser.get(userId)?.get(deviceId)?.identity;
    return identity && this.#withSignatures(identity, userId, userId, deviceId);
  }

  hasDevices(userId: string): boolean {
    return [...(this.#byUser.get(userId)?.values() ?? [])].some(({ identity }) => identity !== undefined);
  }

  /** The user's key for the purpose, with the signatures that `viewerId` may see. */
  crossSigningKey(userId: string, purpose: CrossSigningPurpose, viewerId: string): JsonObject | undefined {
    const key = this.#crossSigning.get(userId)?.[purpose];
    return key && this.#withSignatures(key, viewerId, userId, publicKeyOf(key));
  }

  /** The users whose keys `signerId` has signed after `position`. Only the signer has to query those keys again. */
  signedAfter(signerId: string, position: number): string[] {
    return [...(this.#signedAt.get(signerId) ?? [])].filter(([, at]) => at > position).map(([userId]) => userId);
  }

  noteSignature(signerId: string, userId: string, stream: number): void {
    const signed = this.#signedAt.get(signerId) ?? new Map<string, number>();
    this.#signedAt.set(signerId, signed.set(userId, stream));
  }

  changedAt(userId: string): number {
    return this.#changedAt.get(userId) ?? 0;
  }

  noteChange(userId: string, stream: number): void {
    this.#changedAt.set(userId, stream);
  }

  /** @returns whether the keys have changed */
  setIdentity(userId: string, deviceId: string, keys: JsonObject): boolean {
    const device = this.#device(userId, deviceId);
    const changed = JSON.stringify(device.identity) !== JSON.stringify(keys);
    device.identity = keys;
    return changed;
  }

  addOneTimeKeys(userId: string, deviceId: string, keys: JsonObject): void {
    const { oneTime } = this.#device(userId, deviceId);
    for (const [id, key] of Object.entries(keys)) {
      const old = oneTime.get(id);
      if (!old || signedPart(old) === signedPart(objectOrEmpty(key))) continue;
      const detail = `Old key: ${JSON.stringify(old)}; new key: ${JSON.stringify(key)}`;
      throw new MatrixError(400, 'M_UNKNOWN', `One time key ${id} already exists. ${detail}`);
    }
    for (const [id, key] of Object.entries(keys)) oneTime.set(id, objectOrEmpty(key));
  }

  setFallbackKeys(userId: string, deviceId: string, keys: JsonObject): void {
    const { fallback } = this.#device(userId, deviceId);
    for (const [id, key] of Object.entries(keys)) {
      if (canonicalJson(fallback.get(id)?.key) === canonicalJson(key)) continue; // the same key stays used
      for (const other of fallback.keys()) if (algorithmOf(other) === algorithmOf(id)) fallback.delete(other);
      fallback.set(id, { key: objectOrEmpty(key), used: false });
    }
  }

  /** The number of one-time keys by algorithm. Always includes `signed_curve25519`. */
  oneTimeKeyCounts(userId: string, deviceId: string): Record<string, number> {
    const counts: Record<string, number> = { signed_curve25519: 0 };
    for (const id of this.#byUser.get(userId)?.get(deviceId)?.oneTime.keys() ?? []) {
      counts[algorithmOf(id)] = (counts[algorithmOf(id)] ?? 0) + 1;
    }
    return counts;
  }

  unusedFallbackTypes(userId: string, deviceId: string): string[] {
    const fallback = this.#byUser.get(userId)?.get(deviceId)?.fallback ?? new Map<string, { used: boolean }>();
    return [...fallback].filter(([, { used }]) => !used).map(([id]) => algorithmOf(id));
  }

  /** Removes and returns a one-time key, or returns the fallback key if there is none. */
  claim(userId: string, deviceId: string, algorithm: string): JsonObject | undefined {
    const device = this.#byUser.get(userId)?.get(deviceId);
    for (const [id, key] of device?.oneTime ?? []) {
      if (algorithmOf(id) !== algorithm) continue;
      device?.oneTime.delete(id);
      return { [id]: key };
    }
    for (const [id, fallback] of device?.fallback ?? []) {
      if (algorithmOf(id) !== algorithm) continue;
      fallback.used = true;
      return { [id]: fallback.key };
    }
    return undefined;
  }

  setCrossSigningKey(userId: string, purpose: CrossSigningPurpose, key: JsonObject): void {
    this.#crossSigning.set(userId, { ...this.#crossSigning.get(userId), [purpose]: key });
  }

  /** @param keyId - a device's id, or a cross-signing key's public key */
  addSignatures(signerId: string, userId: string, keyId: string, bySigner: JsonObject): void {
    const place = `${signerId}\n${userId}\n${keyId}`;
    this.#signatures.set(place, { ...this.#signatures.get(place), ...bySigner });
  }

  #withSignatures(key: JsonObject, signerId: string, userId: string, keyId: string): JsonObject {
    const added = this.#signatures.get(`${signerId}\n${userId}\n${keyId}`);
    if (!added) return key;
    const signatures = objectOrEmpty(key['signatures']);
    return { ...key, signatures: { ...signatures, [signerId]: { ...objectOrEmpty(signatures[signerId]), ...added } } };
  }

  forgetDevice(userId: string, deviceId: string): void {
    this.#byUser.get(userId)?.delete(deviceId);
    this.#signatures.delete(`${userId}\n${userId}\n${deviceId}`);
  }

  #device(userId: string, deviceId: string): UploadedKeys {
    const devices = this.#byUser.get(userId) ?? new Map<string, UploadedKeys>();
    this.#byUser.set(userId, devices);
    const device = devices.get(deviceId) ?? { oneTime: new Map(), fallback: new Map() };
    devices.set(deviceId, device);
    return device;
  }
}

function algorithmOf(keyId: string): string {
  return keyId.slice(0, keyId.indexOf(':'));
}
