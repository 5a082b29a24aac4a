import { MatrixClientManagerError } from '../../core/errors.js';
import type { DeviceId } from '../../core/ports/key-store.js';

/** A user whose device is held. */
export interface Hold {
  readonly deviceId: string;
  isLoading: boolean;
}

/** The users whose device is held. A user has at most one held device, whatever its id. */
export class HeldUsers {
  readonly #holds = new Map<string, Hold>();

  /** Throws `ENCRYPTION_STORE_IN_USE` if a device of the user is held. */
  hold({ userId, deviceId }: DeviceId): Hold {
    if (this.#holds.has(userId)) {
      throw new MatrixClientManagerError(
        'ENCRYPTION_STORE_IN_USE',
        `the keys of ${userId} are in use by another client of this process: stop that client first`,
        { userId },
      );
    }
    const hold: Hold = { deviceId, isLoading: true };
    this.#holds.set(userId, hold);
    return hold;
  }

  letGo(userId: string, hold: Hold): void {
    if (this.#holds.get(userId) === hold) this.#holds.delete(userId);
  }

  /** Throws `ENCRYPTION_STORE_IN_USE` if the device is held, or any device of the user is being loaded. */
  assertFree({ userId, deviceId }: DeviceId): void {
    const hold = this.#holds.get(userId);
    if (!hold || (!hold.isLoading && hold.deviceId !== deviceId)) return;
    throw new MatrixClientManagerError('ENCRYPTION_STORE_IN_USE', `stop the client of ${userId} first`, { userId });
  }
}
