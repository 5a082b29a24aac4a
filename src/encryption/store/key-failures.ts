import { isManagerError, MatrixClientManagerError } from '../../core/errors.js';
import type { DeviceId } from '../../core/ports/key-store.js';

const remedy = 'Log in as a new device and restore from the key backup';

export function damagedError(
  { userId, deviceId }: DeviceId,
  reason: string,
  cause?: unknown,
): MatrixClientManagerError {
  return new MatrixClientManagerError(
    'ENCRYPTION_STORE_DAMAGED',
    `the keys of ${userId} on device ${deviceId} cannot be used: ${reason}. ${remedy}`,
    { userId, cause },
  );
}

/** @param found - the device's number of commits in the store. @param noted - a number that it had before */
export function rolledBackError({ userId, deviceId }: DeviceId, found: number | undefined, noted: number) {
  const finding = found === undefined ? 'missing' : `at change ${found}, but were at change ${noted} before`;
  return new MatrixClientManagerError(
    'ENCRYPTION_STORE_ROLLED_BACK',
    `the keys of ${userId} on device ${deviceId} are ${finding}: the crypto store was lost or restored from a copy, ` +
      `and the device must not continue with older keys. ${remedy}`,
    { userId },
  );
}

/** What a key store threw, as an error of this library. @param problem - such as `be stored` */
export function storageError(userId: string, problem: string, cause: unknown): MatrixClientManagerError {
  if (isManagerError(cause)) return cause;
  return new MatrixClientManagerError('STORAGE', `the keys of ${userId} could not ${problem}`, { userId, cause });
}
