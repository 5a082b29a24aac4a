import { CryptoEvent } from 'matrix-js-sdk/lib/crypto-api/index.js';
import type { DecryptionSender } from '../../core/decryption.js';
import type { DeviceId } from '../../core/ports/key-store.js';
import { RecentMap } from '../../core/recent-map.js';
import type { TrustPolicy } from '../../encryption/identity/identity-options.js';
import { hasIdentityChanged, SHIELD_CODES } from './crypto-backend.js';
import type { CryptoBackend, DecryptedRoomEvent } from './crypto-backend.js';

/** What was found out of the sender of a decrypted event. `isMismatch`: another user has sent it. */
export interface SenderCheck {
  readonly isMismatch: boolean;
  readonly sender: DecryptionSender;
  /** Whether the trust policy allows the sending device. */
  readonly isTrusted: boolean;
  /** Whether the sending device is unknown or seems unsigned. A newer list of the sender's devices may change that. */
  readonly dependsOnDeviceLists: boolean;
}

/** The present state of a user and their device. It may have changed since the device's room key arrived. */
interface Owner {
  readonly verified: boolean;
  readonly deviceVerified: boolean;
  readonly identityChanged: boolean;
  /** Whether the user had verified the owner with other keys. */
  readonly violated: boolean;
}

const unknownOwner: Owner = { verified: false, deviceVerified: false, identityChanged: false, violated: false };
/** Devices whose owner's state is kept in memory. */
const MOST_OWNERS = 1_000;

/** Tells who has sent a decrypted event, from what the crypto library knows of the session and of the user. */
export class SenderChecks {
  readonly #crypto: CryptoBackend;
  readonly #trust: TrustPolicy;
  readonly #userId: string;
  readonly #deviceId: string;
  /** By user id and device id. Looked up once, until the user's keys or devices change. */
  readonly #owners = new RecentMap<Promise<Owner>>(MOST_OWNERS);

  /** @param own - the user and their own device */
  constructor(crypto: CryptoBackend, trust: TrustPolicy, own: DeviceId) {
    this.#crypto = crypto;
    this.#trust = trust;
    this.#userId = own.userId;
    this.#deviceId = own.deviceId;
    const forget = (userId: string): void => {
      for (const key of this.#owners.keys()) if (key.startsWith(`${userId}\n`)) this.#owners.delete(key);
    };
    crypto.on(CryptoEvent.UserTrustStatusChanged, forget);
    crypto.on(CryptoEvent.DevicesUpdated, (userIds) => userIds.forEach(forget));
  }

  /** @param senderId - the user whom the homeserver names as the event's sender */
  async check(senderId: string, event: DecryptedRoomEvent): Promise<SenderCheck> {
    // Without `strict`, an unverified owner has no code. With it, unsigned devices have the code of unverified owners.
    const code = codeOf(event, false) ?? codeOf(event, true);
    const { authenticityNotGuaranteed, unknownDevice, unsignedDevice, mismatchedSender } = SHIELD_CODES;
    const isMismatch = code === mismatchedSender;
    const authenticated = !isMismatch && code !== authenticityNotGuaranteed && code !== unknownDevice;
    const deviceId = authenticated ? deviceIdOf(event) : undefined;
    const owner = deviceId === undefined ? unknownOwner : await this.#ownerOf(senderId, deviceId, event);
    const violated = owner.violated || code === SHIELD_CODES.verificationViolation;
    const sender: DecryptionSender = {
      authenticated,
      deviceId,
      signedByOwner: authenticated && code !== unsignedDevice,
      // The library keeps the first result of each session. The owner may have been verified after that, or no more.
      ownerVerified: owner.verified && (code === undefined || owner.deviceVerified),
      identityChanged: authenticated && (owner.identityChanged || violated),
    };
    const isOwnDevice = deviceId === this.#deviceId && senderId === this.#userId;
    return {
      isMismatch,
      sender,
      isTrusted: isOwnDevice || this.#allows(sender, violated),
      dependsOnDeviceLists: code === unsignedDevice || code === unknownDevice,
    };
  }

  #allows({ authenticated, signedByOwner, ownerVerified }: DecryptionSender, violated: boolean): boolean {
    if (this.#trust === 'all') return true;
    return this.#trust === 'verified' ? ownerVerified : authenticated && signedByOwner && !violated;
  }

  #ownerOf(senderId: string, deviceId: string, event: DecryptedRoomEvent): Promise<Owner> {
    const key = `${senderId}\n${deviceId}`;
    const known = this.#owners.get(key);
    if (known) return known;
    const { olmMachine } = this.#crypto;
    const { sender, senderDevice } = event; // WebAssembly objects, which are made when they are read
    const look = async (): Promise<Owner> => {
      // Both hold the machine's store, and with it the client, until they are freed.
      const identity = await olmMachine.getIdentity(sender);
      const device = senderDevice && (await olmMachine.getDevice(sender, senderDevice));
      const violated = identity?.hasVerificationViolation() ?? false;
      const owner = {
        verified: identity?.isVerified() ?? false,
        deviceVerified: device?.isCrossSigningTrusted() ?? false,
        identityChanged: identity !== undefined && hasIdentityChanged(identity),
        violated,
      };
      identity?.free();
      device?.free();
      return owner;
    };
    const looking = look();
    this.#owners.set(key, looking);
    looking.catch(() => this.#owners.delete(key));
    return looking;
  }
}

// Objects of the WebAssembly are freed at once: the garbage collector does not know how much memory they hold.

function codeOf(event: DecryptedRoomEvent, strict: boolean) {
  const state = event.shieldState(strict);
  const { code } = state;
  state.free();
  return code;
}

function deviceIdOf(event: DecryptedRoomEvent): string | undefined {
  const device = event.senderDevice;
  const deviceId = device?.toString();
  device?.free();
  return deviceId;
}
