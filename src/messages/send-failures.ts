import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import type { ErrorCode } from '../core/errors.js';
import { failureClass, isRetryable } from '../http/failure-class.js';
import type { StoredError } from '../storage/dead-letter.js';

/** The error of a message that is given up, after `afterMs` in which the homeserver answered otherwise. */
export function givenUp(error: MatrixClientManagerError, afterMs: number): MatrixClientManagerError {
  const { code, errcode, status, userId, roomId } = error;
  const message = `given up after ${afterMs} ms in which the homeserver answered otherwise: ${error.message}`;
  return new MatrixClientManagerError(code, message, { errcode, status, userId, roomId, cause: error });
}

/** What a later try may pass: the user may get a session, their client may be started, the storage may answer. */
const passing: readonly ErrorCode[] = ['ABORTED', 'MANAGER_CLOSED', 'STORAGE', 'CLIENT_FAILED', 'CLIENT_NOT_STARTED'];

/** Whether trying again would not help. */
export function isRefusal(error: unknown): boolean {
  if (!(error instanceof Error) || isManagerError(error, ...passing)) return false;
  return !isRetryable(failureClass(error)) && failureClass(error) !== 'unavailable';
}

/** As it is kept with the message. */
export function toStored(error: Error): StoredError {
  return { name: error.name, message: error.message, ...(isManagerError(error) && { code: error.code }) };
}
