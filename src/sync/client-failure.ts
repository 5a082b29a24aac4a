import { isManagerError, MatrixClientManagerError } from '../core/errors.js';

/** Rejections of the session in a row after which a live client ends. */
const MAX_SESSION_REJECTIONS = 3;

/**
 * Decides whether a failure that is not retryable ends a live client. An error of the library's own code does, and so
 * does a homeserver that repeatedly reports the session or the account as ended. The client survives every other
 * rejected sync, because the cause may go away: a wrong route to a worker, a limit of active users, a locked account.
 */
export class FatalFailureDetector {
  #rejections = 0;

  /** Call it after a successful sync. */
  reset(): void {
    this.#rejections = 0;
  }

  /** Records a failure that is not retryable. Call it once per failure. Returns whether the failure ends the client. */
  recordFailure(error: unknown): boolean {
    if (isManagerError(error, 'UNKNOWN_TOKEN', 'USER_DEACTIVATED')) return ++this.#rejections >= MAX_SESSION_REJECTIONS;
    return !isManagerError(error) || error.status === undefined;
  }
}

/** The error that a failed client reports: the error itself, or `CLIENT_FAILED` with it as the cause. */
export function clientFailure(error: unknown, userId: string): MatrixClientManagerError {
  if (isManagerError(error)) return error;
  return new MatrixClientManagerError('CLIENT_FAILED', `the client of ${userId} failed`, { userId, cause: error });
}
