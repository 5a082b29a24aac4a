import { isManagerError, MatrixClientManagerError } from '../core/errors.js';

/** Times in a row that the homeserver has to say that a session is over before the live client of it ends. */
const END_ATTEMPTS = 3;

/**
 * Decides whether a failure that no retry is known to mend ends a live client. A fault of our own does, and an answer
 * that says repeatedly that the session or the account is over. Any other refusal of a sync may be gone tomorrow: a
 * wrong route to a worker, a limit of active users, a lock of the account.
 */
export class EndOfSession {
  #said = 0;

  /** A sync succeeded. */
  reset(): void {
    this.#said = 0;
  }

  endsClient(error: unknown): boolean {
    if (isManagerError(error, 'UNKNOWN_TOKEN', 'USER_DEACTIVATED')) return ++this.#said >= END_ATTEMPTS;
    return !isManagerError(error) || error.status === undefined;
  }
}

/** What the client fails with, as an error of ours. */
export function clientFailure(error: unknown, userId: string): MatrixClientManagerError {
  if (isManagerError(error)) return error;
  return new MatrixClientManagerError('CLIENT_FAILED', `the client of ${userId} failed`, { userId, cause: error });
}
