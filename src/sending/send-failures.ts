import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import type { ErrorCode } from '../core/errors.js';
import { isError } from '../core/is-error.js';
import { RoomNotReceived } from '../core/room-not-received.js';
import { failureClass, isRetryable } from '../http/failure-class.js';
import type { StoredError } from '../storage/storage.js';

/** A message failed for longer than `sendTimeoutMs` while the homeserver answered other requests. */
export class SendGivenUpError extends MatrixClientManagerError {
  constructor(error: MatrixClientManagerError, afterMs: number) {
    const { code, errcode, status, userId, roomId } = error;
    const message = `given up after failing for ${afterMs} ms while the homeserver answered other requests: ${error.message}`;
    super(code, message, { errcode, status, userId, roomId, cause: error });
  }
}

/** A later attempt may succeed: after the user got a session, the client was started, or the storage answers. */
const retryableCodes: readonly ErrorCode[] = [
  'ABORTED',
  'MANAGER_CLOSED',
  'STORAGE',
  'CLIENT_FAILED',
  'CLIENT_NOT_STARTED',
];

/** Whether the error is permanent, so that another attempt would fail too. */
export function isRefusal(error: unknown): boolean {
  if (!isError(error) || isManagerError(error, ...retryableCodes) || error instanceof RoomNotReceived) return false;
  return !isRetryable(failureClass(error)) && failureClass(error) !== 'unavailable';
}

/** The form in which the error is stored with the message. */
export function toStoredError(error: Error): StoredError {
  return { name: error.name, message: error.message, ...(isManagerError(error) && { code: error.code }) };
}
