import { RecentIds } from '../../core/recent-ids.js';
import { VerificationLimits } from './verification-limits.js';
import type { AskedVerification } from './verification-messages.js';

/** How old a request may be, and how long a verification may take, in milliseconds: the time of the specification. */
export const MAX_AGE_MS = 600_000;
/** How far a request's time may be in the future, in milliseconds, as the specification has it. */
const MAX_AHEAD_MS = 300_000;
/** Remembered requests. More than the limits allow in the time in which one can be repeated. */
const REMEMBERED = 1_000;

/**
 * `new`: to be answered. `known`: it was admitted before. `invalid`: from this device, or of the wrong time. `too-many`: the
 * limits allow no further one.
 */
export type Admission = 'new' | 'known' | 'invalid' | 'too-many';

/** Decides which requests for a verification are answered at all. */
export class VerificationAdmission {
  readonly #deviceId: string | null;
  /** Only requests within the limits are added, so that other users cannot make it forget one. */
  readonly #admitted = new RecentIds(REMEMBERED);
  readonly #ofOthers = new VerificationLimits(MAX_AGE_MS);
  /** The user's own devices, each with a count of its own. Requests of others do not use up what these may make. */
  readonly #ofOwnDevices = new VerificationLimits(MAX_AGE_MS);

  /** @param deviceId - the device of the client */
  constructor(deviceId: string | null) {
    this.#deviceId = deviceId;
  }

  /** Counts the request if it is new. @param hasSynced - whether the client has processed a sync: a start has no time */
  admit(asked: AskedVerification, now: number, hasSynced: boolean): Admission {
    const { userId, otherUserId, otherDeviceId, roomId, transactionId, timestamp, isStart } = asked;
    const isOwn = otherUserId === userId;
    if (isOwn && otherDeviceId === this.#deviceId) return 'invalid';
    const key = JSON.stringify([otherUserId, roomId, transactionId]);
    if (this.#admitted.has(key)) return 'known';
    const ageMs = isStart ? (hasSynced ? 0 : Infinity) : now - (timestamp ?? -Infinity);
    if (ageMs > MAX_AGE_MS || ageMs < -MAX_AHEAD_MS) return 'invalid';
    const isAllowed = isOwn ? this.#ofOwnDevices.allow(otherDeviceId, now) : this.#ofOthers.allow(otherUserId, now);
    if (!isAllowed) return 'too-many';
    this.#admitted.add(key);
    return 'new';
  }
}
