import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import type { ErrorCode } from '../core/errors.js';
import { isError } from '../core/is-error.js';
import { failureClass, isRetryable } from '../http/failure-class.js';
import type { StoredError } from '../storage/dead-letter.js';

/** A message failed for too long while the homeserver answered otherwise. */
export class GivenUp extends MatrixClientManagerError {
  constructor(error: MatrixClientManagerError, afterMs: number) {
    const { code, errcode, status, userId, roomId } = error;
    const message = `given up after ${afterMs} ms in which the homeserver answered otherwise: ${error.message}`;
    super(code, message, { errcode, status, userId, roomId, cause: error });
  }
}

/** What a later try may pass: the user may get a session, their client may be started, the storage may answer. */
const passing: readonly ErrorCode[] = ['ABORTED', 'MANAGER_CLOSED', 'STORAGE', 'CLIENT_FAILED', 'CLIENT_NOT_STARTED'];

/** Whether trying again would not help. */
export function isRefusal(error: unknown): boolean {
  if (!isError(error) || isManagerError(error, ...passing)) return false;
  return !isRetryable(failureClass(error)) && failureClass(error) !== 'unavailable';
}

/** As it is kept with the message. */
export function toStored(error: Error): StoredError {
  return { name: error.name, message: error.message, ...(isManagerError(error) && { code: error.code }) };
}
