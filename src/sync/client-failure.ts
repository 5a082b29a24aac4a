import { isManagerError, MatrixClientManagerError } from '../core/errors.js';

/** The error that a failed client reports: the error itself, or `CLIENT_FAILED` with it as the cause. */
export function clientFailure(error: unknown, userId: string): MatrixClientManagerError {
  if (isManagerError(error)) return error;
  return new MatrixClientManagerError('CLIENT_FAILED', `the client of ${userId} failed`, { userId, cause: error });
}
