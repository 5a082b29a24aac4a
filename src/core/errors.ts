/** Every code a {@link MatrixClientManagerError} can carry. */
export const errorCodes = [
  'INVALID_OPTIONS', // an option or argument is not what it has to be; nothing was sent
  'INVALID_USER_ID', // a user id or username breaks the specification's grammar; nothing was sent
  'USER_EXISTS', // the user exists already and the call asked for a new one
  'USER_DEACTIVATED', // the account is deactivated; it is never revived silently
  'FORBIDDEN', // the homeserver refuses: not an admin, not in the room, wrong password
  'NOT_FOUND', // the homeserver does not know the user, room or event
  'RATE_LIMITED', // 429 for longer than the call may wait; see retryAfterMs
  'UNKNOWN_TOKEN', // the access token is dead and could not be renewed
  'HOMESERVER_UNAVAILABLE', // the homeserver answers 5xx
  'INVALID_RESPONSE', // the homeserver answers something that is not Matrix: HTML, cut JSON, wrong types
  'REJECTED', // any other refusal by the homeserver; see errcode and status
  'UNSUPPORTED', // the homeserver lacks an API that the call needs
  'NETWORK', // no answer: refused, reset, unresolved
  'TIMEOUT', // no answer in time
  'ABORTED', // the caller's AbortSignal, or a stop of the client, ended the call
  'CLIENT_NOT_STARTED', // no client and no stored credentials for the user
  'CLIENT_FAILED', // the client ended by a fault while the call needed it
  'ENCRYPTION_UNAVAILABLE', // the room is encrypted and this manager cannot encrypt for the user
  'ENCRYPTION_FAILED', // a message could not be encrypted; nothing was sent
  'ENCRYPTION_STORE_IN_USE', // the user's crypto store is open already; two clients of one device would ruin its keys
  'ENCRYPTION_STORE_DAMAGED', // the keys of the device cannot be read; a new device and a restore are the way on
  'ENCRYPTION_STORE_ROLLED_BACK', // the keys of the device are older than they were, or gone; the same way on
  'ENCRYPTION_DEVICE_MISMATCH', // the keys belong to another device of the user
  'ENCRYPTION_RECOVERY_KEY', // the recovery key that the application gave does not open the user's secret storage
  'ENCRYPTION_SETUP_FAILED', // cross-signing, secret storage or key backup could not be made or restored
  'ENCRYPTION_UNVERIFIED', // the user's device is not cross-signed, and the trust policy lets it send to nobody
  'FILE_TOO_LARGE', // a file is larger than the call, the manager or the homeserver allows
  'FILE_DAMAGED', // a file that was downloaded is not the one that was sent, or its message describes none
  'INVALID_CURSOR', // a page cursor was altered, or belongs to another room
  'STORAGE', // the storage failed or holds something unreadable
  'STORAGE_LOCKED', // another process holds the storage file
  'MANAGER_CLOSED', // the manager was shut down
] as const;

export type ErrorCode = (typeof errorCodes)[number];

/** What a {@link MatrixClientManagerError} knows besides its message. */
export interface ErrorContext {
  /** Matrix error code of the homeserver's answer, such as `M_FORBIDDEN`. */
  readonly errcode?: string | undefined;
  /** HTTP status of the homeserver's answer. */
  readonly status?: number | undefined;
  /** How long the homeserver asks to wait before the next try, in milliseconds. */
  readonly retryAfterMs?: number | undefined;
  readonly userId?: string | undefined;
  readonly roomId?: string | undefined;
  readonly cause?: unknown;
}

/**
 * The one error class of the library. `code` says what happened in a closed set of words; the message says operation,
 * reason and remedy. It never holds a token or a password.
 */
export class MatrixClientManagerError extends Error {
  override readonly name = 'MatrixClientManagerError';
  readonly code: ErrorCode;
  declare readonly errcode?: string;
  declare readonly status?: number;
  declare readonly retryAfterMs?: number;
  declare readonly userId?: string;
  declare readonly roomId?: string;

  constructor(code: ErrorCode, message: string, context: ErrorContext = {}) {
    super(message, context.cause === undefined ? undefined : { cause: context.cause });
    this.code = code;
    if (context.errcode !== undefined) this.errcode = context.errcode;
    if (context.status !== undefined) this.status = context.status;
    if (context.retryAfterMs !== undefined) this.retryAfterMs = context.retryAfterMs;
    if (context.userId !== undefined) this.userId = context.userId;
    if (context.roomId !== undefined) this.roomId = context.roomId;
  }
}

/** Whether `error` is one of ours, with one of `codes` when any are given. */
export function isManagerError(error: unknown, ...codes: ErrorCode[]): error is MatrixClientManagerError {
  return error instanceof MatrixClientManagerError && (codes.length === 0 || codes.includes(error.code));
}
