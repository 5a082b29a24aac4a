import { MatrixClientManagerError } from '../../core/errors.js';
import type { Claim } from '../../core/ports/claim.js';
import type { DeviceHandle, DeviceId, OpenDeviceOptions } from '../../core/ports/key-store.js';
import { heldDevice } from './held-device.js';
import type { HeldDeviceOptions } from './held-device.js';

/** A user whose device is held or is being loaded. */
interface Hold {
  readonly holder: HeldDevices;
  readonly deviceId: string;
  readonly claim: Claim | undefined;
  isLoading: boolean;
}

/** The users whose device is held, by user id. A user has at most one held device, whatever its id. */
export type Holds = Map<string, Hold>;

/** The devices that one key store holds. */
export class HeldDevices {
  readonly #holds: Holds;
  readonly #devices = new Set<DeviceHandle>();

  /** @param holds - shared by the key stores on the same data */
  constructor(holds: Holds = new Map()) {
    this.#holds = holds;
  }

  /**
   * Holds the device from now until its release, or until `load` rejects. Rejects with `ENCRYPTION_STORE_IN_USE` if a
   * device of the user is held.
   */
  async hold(
    { userId, deviceId, claim }: OpenDeviceOptions,
    load: () => Promise<Omit<HeldDeviceOptions, keyof OpenDeviceOptions | 'onReleased'>>,
  ): Promise<DeviceHandle> {
    const before = this.#holds.get(userId);
    if (before && !this.#takesFrom(before, claim)) {
      throw inUseError(userId, `the keys of ${userId} are in use by another client of this process: stop that client`);
    }
    const hold: Hold = { holder: this, deviceId, claim, isLoading: true };
    this.#holds.set(userId, hold);
    const letGo = (): void => {
      if (this.#holds.get(userId) === hold) this.#holds.delete(userId);
    };
    try {
      const loaded = await load();
      const onReleased = (): void => {
        this.#devices.delete(device);
        letGo();
      };
      const device: DeviceHandle = heldDevice({ userId, deviceId, claim, ...loaded, onReleased });
      hold.isLoading = false;
      this.#devices.add(device);
      return device;
    } catch (error) {
      letGo();
      throw error;
    }
  }

  /** Throws `ENCRYPTION_STORE_IN_USE` if the device is held, or any device of the user is being loaded. */
  assertFree({ userId, deviceId }: DeviceId): void {
    const hold = this.#holds.get(userId);
    if (hold && (hold.isLoading || hold.deviceId === deviceId)) {
      throw inUseError(userId, `stop the client of ${userId}`);
    }
  }

  async releaseAll(): Promise<void> {
    await Promise.all([...this.#devices].map((device) => device.release()));
  }

  /** Whether `claim` has taken the user from the holder. In one process the holder's claim is lost then. */
  #takesFrom(hold: Hold, claim: Claim | undefined): boolean {
    if (!hold.claim) return false;
    const isNewer = claim !== undefined && claim.epoch > hold.claim.epoch && hold.holder !== this;
    return isNewer || hold.claim.signal.aborted;
  }
}

function inUseError(userId: string, message: string): MatrixClientManagerError {
  return new MatrixClientManagerError('ENCRYPTION_STORE_IN_USE', `${message} first`, { userId });
}
