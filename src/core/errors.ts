/**
 * Every code a {@link MatrixClientManagerError} can carry, with what happened and, after "Remedy:", what to do about it.
 * `docs/reference/errors.md` is generated from these comments.
 */
export const errorCodes = [
  /**
   * An option or argument is not what it has to be: an unknown name, a wrong type, half a surrogate pair, content
   * nested too deep. Nothing was sent. Remedy: correct the call; the message names the argument and, for an unknown
   * option, the known ones.
   */
  'INVALID_OPTIONS',
  /**
   * A user id or username breaks the grammar of the specification. Nothing was sent. Remedy: correct it, or use
   * `normalizeUsername`.
   */
  'INVALID_USER_ID',
  /** The user exists already, and the call asked for a new one. Remedy: use another name. */
  'USER_EXISTS',
  /**
   * The account is deactivated. It is never reactivated silently. Remedy: call `manager.admin.reactivateUser()` if that
   * is intended.
   */
  'USER_DEACTIVATED',
  /**
   * The homeserver refuses: not in the room, not a server admin, or a wrong password. Remedy: check the user's rights;
   * for admin calls, the option `admin`.
   */
  'FORBIDDEN',
  /** The homeserver does not know the user, room or event. Remedy: check the id. */
  'NOT_FOUND',
  /**
   * The homeserver asks to wait longer than the call may (429). Remedy: wait for `retryAfterMs`; raise the rate limits
   * of the homeserver.
   */
  'RATE_LIMITED',
  /**
   * The access token is not valid any more and could not be renewed. Remedy: provision the user again; for the admin,
   * give a new token or the password.
   */
  'UNKNOWN_TOKEN',
  /**
   * The homeserver answers 5xx, after retries; or it is known to be down and was not asked. Remedy: try later, after
   * `retryAfterMs` where given; live clients recover by themselves.
   */
  'HOMESERVER_UNAVAILABLE',
  /**
   * The answer is not Matrix, whatever its `status`: HTML, cut JSON, wrong types, a redirect elsewhere, an error
   * without an errcode. Usually a proxy gave it, and it may be temporary; what can be repeated was repeated. Remedy:
   * check `homeserverUrl`, and the proxy in front of the homeserver.
   */
  'INVALID_RESPONSE',
  /** The homeserver refuses for any other reason. Remedy: see `errcode` and `status`. */
  'REJECTED',
  /**
   * The homeserver lacks an API that the call needs; or this process lacks a supported version of matrix-js-sdk, or
   * Node's SQLite. Remedy: do what the message says; for accounts, give a `Provisioner` of your own.
   */
  'UNSUPPORTED',
  /**
   * There was no connection: refused, reset, or the host name did not resolve. Remedy: check `homeserverUrl`; try
   * later.
   */
  'NETWORK',
  /**
   * There was no answer in time. Remedy: try later, or raise `requestTimeoutMs` or `startTimeoutMs`. A message may have
   * been sent: repeat it with the same `txnId`.
   */
  'TIMEOUT',
  /** Your AbortSignal, or a stop of the client, ended the call. Remedy: nothing. */
  'ABORTED',
  /**
   * No credentials of the user are known. Remedy: call `provisionUser()` first, or `startClient()` with an
   * `accessToken`.
   */
  'CLIENT_NOT_STARTED',
  /** The client failed while the call needed it. Remedy: see `cause`; the next call starts the client again. */
  'CLIENT_FAILED',
  /** The room is encrypted, and this manager has no encryption for the user. Remedy: use the option `encryption`. */
  'ENCRYPTION_UNAVAILABLE',
  /** A message could not be encrypted. Nothing was sent. Remedy: read the message; try again. */
  'ENCRYPTION_FAILED',
  /**
   * The user's keys are in use by another client of the process. Two clients of one device would damage its keys.
   * Remedy: stop the other client first.
   */
  'ENCRYPTION_STORE_IN_USE',
  /** The keys of the device cannot be read. Remedy: log in as a new device, and restore from the key backup. */
  'ENCRYPTION_STORE_DAMAGED',
  /**
   * The keys of the device are older than they were, or gone. Remedy: log in as a new device, and restore from the key
   * backup. Never put an older copy of the crypto store back.
   */
  'ENCRYPTION_STORE_ROLLED_BACK',
  /**
   * The stored keys belong to another device of the user, or the homeserver has deleted the device. Remedy: use that
   * device, or restore from the key backup on the new one.
   */
  'ENCRYPTION_DEVICE_MISMATCH',
  /**
   * The recovery key that the application gave does not open the user's secret storage. Nothing was changed. Remedy:
   * give the right one.
   */
  'ENCRYPTION_RECOVERY_KEY',
  /**
   * Cross-signing, secret storage or key backup could not be made or restored. Remedy: read the message; it is tried
   * again at the client's next start.
   */
  'ENCRYPTION_SETUP_FAILED',
  /**
   * The user's device is not cross-signed, and the trust policy is `cross-signed`. Nothing was sent. Remedy: give the
   * recovery key, reset the identity, or choose another `trust`.
   */
  'ENCRYPTION_UNVERIFIED',
  /**
   * A file is larger than the call, `maxFileBytes` or the homeserver allows. An upload was not begun. Remedy: send a
   * smaller file, or raise the limit.
   */
  'FILE_TOO_LARGE',
  /**
   * A downloaded file is not the one that was sent, or the message describes no file. Remedy: discard what was read of
   * it.
   */
  'FILE_DAMAGED',
  /** The cursor `from` was altered, or belongs to another room. Remedy: read from the newest page again. */
  'INVALID_CURSOR',
  /** The storage failed, or holds something unreadable. Remedy: see `cause`; check the disk and the file. */
  'STORAGE',
  /** Another process holds the storage file. Remedy: end that process, or give each process a file of its own. */
  'STORAGE_LOCKED',
  /** The manager was shut down. Remedy: make a new one. */
  'MANAGER_CLOSED',
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
