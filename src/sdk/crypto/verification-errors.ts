import { MatrixClientManagerError } from '../../core/errors.js';
import { encryptionFailure } from '../../encryption/encryption-failure.js';
import type { VerificationRequestInfo } from '../../encryption/verification-options.js';
import type { WasmSas } from './crypto-backend.js';

/** `VERIFICATION_ENDED`. @param reason - why it ended without success */
export function endedError(info: VerificationRequestInfo, reason: string): MatrixClientManagerError {
  const { userId } = info;
  return new MatrixClientManagerError('VERIFICATION_ENDED', `${operationOf(info)} has ended: ${reason}`, { userId });
}

/** `VERIFICATION_ENDED` with what the crypto library says of the cancellation, which is freed. */
export function cancelledError(
  info: VerificationRequestInfo,
  cancelInfo: ReturnType<WasmSas['cancelInfo']>,
): MatrixClientManagerError {
  const side = cancelInfo?.cancelledbyUs() ? 'this side' : 'the other side';
  const error = endedError(info, `${side} has cancelled it (${cancelInfo?.cancelCode()}: ${cancelInfo?.reason()})`);
  cancelInfo?.free();
  return error;
}

/** The failure of a step, such as of a request to the homeserver. */
export function stepFailure(info: VerificationRequestInfo, error: unknown): MatrixClientManagerError {
  const { userId, roomId } = info;
  return encryptionFailure(error, operationOf(info), { userId, ...(roomId !== undefined && { roomId }) });
}

function operationOf({ userId, otherUserId, otherDeviceId }: VerificationRequestInfo): string {
  return `the verification of ${userId} with ${otherUserId} (${otherDeviceId})`;
}
