/**
 * Every code of a {@link MatrixClientManagerError}. Each comment describes the cause and, after "Remedy:", the solution.
 * `docs/reference/errors.md` is generated from these comments.
 */
export const errorCodes = [
  /**
   * An option or argument is invalid: an unknown name, a wrong type, an unpaired surrogate, or content that is nested too
   * deeply. Nothing was sent. Remedy: correct the call; the message names the argument and, for an unknown option, the
   * known ones.
   */
  'INVALID_OPTIONS',
  /**
   * A user id or username violates the grammar of the specification. Nothing was sent. Remedy: correct it, or use
   * `normalizeUsername`.
   */
  'INVALID_USER_ID',
  /** The user already exists, and the call requested a new one. Remedy: use another name. */
  'USER_EXISTS',
  /**
   * The account is deactivated. The library never reactivates an account by itself. Remedy: call
   * `manager.admin.reactivateUser()` if that is intended.
   */
  'USER_DEACTIVATED',
  /**
   * The homeserver denies the request: the user is not in the room or not a server admin, or the password is wrong.
   * Remedy: check the user's rights; for admin calls, check the option `admin`.
   */
  'FORBIDDEN',
  /** The homeserver does not know the user, room or event. Remedy: check the id. */
  'NOT_FOUND',
  /**
   * The homeserver limits the rate of requests (429), and asks for a longer wait than the call allows. Remedy: wait for
   * `retryAfterMs`; raise the rate limits of the homeserver.
   */
  'RATE_LIMITED',
  /**
   * The access token is no longer valid and could not be renewed. Remedy: provision the user again; for the admin,
   * configure a new token or the password.
   */
  'UNKNOWN_TOKEN',
  /**
   * The homeserver still responds with 5xx after retries; or the request was not sent, because the homeserver is known to
   * be down. Remedy: try again after `retryAfterMs`, if it is set; live clients recover by themselves.
   */
  'HOMESERVER_UNAVAILABLE',
  /**
   * The response is not valid Matrix: HTML, truncated JSON, wrong types, a redirect to another host, or an error without
   * an errcode. Usually it comes from a proxy, and the problem may be temporary; the request was retried where that is
   * safe. Remedy: check `homeserverUrl`, and the proxy in front of the homeserver.
   */
  'INVALID_RESPONSE',
  /** The homeserver rejects the request for any other reason. Remedy: see `errcode` and `status`. */
  'REJECTED',
  /**
   * The homeserver lacks an API that the call needs; or this process lacks a supported version of matrix-js-sdk, or
   * Node's SQLite. Remedy: follow the message; for accounts, use your own `Provisioner`.
   */
  'UNSUPPORTED',
  /**
   * The connection failed: it was refused or reset, or the host name could not be resolved. Remedy: check
   * `homeserverUrl`; try again later.
   */
  'NETWORK',
  /**
   * No response arrived in time. Remedy: try again later, or raise `requestTimeoutMs` or `startTimeoutMs`. A message may
   * have been sent: send it again with the same `txnId`.
   */
  'TIMEOUT',
  /** Your AbortSignal, or a stop of the client, ended the call. Remedy: none is needed. */
  'ABORTED',
  /**
   * The manager has no credentials of the user; whether a client runs does not matter. Remedy: call `provisionUser()`
   * first, or `startClient()` with an `accessToken`.
   */
  'CLIENT_NOT_STARTED',
  /** The client failed while the call needed it. Remedy: see `cause`; the next call starts the client again. */
  'CLIENT_FAILED',
  /** The room is encrypted, and this manager has no encryption for the user. Remedy: use the option `encryption`. */
  'ENCRYPTION_UNAVAILABLE',
  /** A message could not be encrypted. Nothing was sent. Remedy: read the error's message; try again. */
  'ENCRYPTION_FAILED',
  /**
   * The user's keys are in use by another client of the process. Two clients of one device would damage its keys.
   * Remedy: stop the other client first.
   */
  'ENCRYPTION_STORE_IN_USE',
  /** The keys of the device cannot be read. Remedy: log in as a new device, and restore keys from the key backup. */
  'ENCRYPTION_STORE_DAMAGED',
  /**
   * The stored keys of the device are missing, or are an older copy. Remedy: log in as a new device, and restore keys from
   * the key backup. Never restore an older copy of the crypto store.
   */
  'ENCRYPTION_STORE_ROLLED_BACK',
  /**
   * The stored keys belong to another device of the user, or the homeserver has deleted the device. Remedy: use that
   * device, or restore from the key backup on the new one.
   */
  'ENCRYPTION_DEVICE_MISMATCH',
  /**
   * The given recovery key does not unlock the user's secret storage, which was not changed. Remedy: pass the correct
   * recovery key.
   */
  'ENCRYPTION_RECOVERY_KEY',
  /**
   * Cross-signing, secret storage or key backup could not be set up or restored. Remedy: read the error's message. The
   * set-up is repeated while the client runs; `verifyUser()` and `resetIdentity()` are not repeated.
   */
  'ENCRYPTION_SETUP_FAILED',
  /**
   * The user's device is not cross-signed, and the trust policy is `cross-signed`. Nothing was sent. Remedy: pass the
   * recovery key, reset the identity, or choose another `trust`.
   */
  'ENCRYPTION_UNVERIFIED',
  /**
   * The verification has ended without success: one side has cancelled it, it was not finished in time, another device of
   * the user has answered it, or the client was stopped. Remedy: read the error's message; the other side can ask again.
   */
  'VERIFICATION_ENDED',
  /**
   * A file is larger than the call, `maxFileBytes` or the homeserver allows. An upload was not started. Remedy: send a
   * smaller file, or raise the limit.
   */
  'FILE_TOO_LARGE',
  /**
   * A downloaded file differs from the one that was sent, or the message does not describe a file. Remedy: discard the
   * data that was read.
   */
  'FILE_DAMAGED',
  /**
   * The room is encrypted, and the homeserver cannot search its messages. Remedy: search it where its messages are
   * decrypted, for example in an index of the application that a callback fills.
   */
  'ENCRYPTED_ROOM',
  /** The cursor `from` is invalid, or belongs to another room. Remedy: start again from the newest page. */
  'INVALID_CURSOR',
  /** The storage failed, or contains unreadable data. Remedy: see `cause`; check the disk and the file. */
  'STORAGE',
  /** Another process uses the storage file. Remedy: end that process, or use a separate file for each process. */
  'STORAGE_LOCKED',
  /**
   * The user belongs to another process now. Nothing was stored, and this process has stopped the user's client. Remedy:
   * send the call to that process.
   */
  'OWNED_ELSEWHERE',
  /** The manager was shut down. Remedy: create a new one. */
  'MANAGER_CLOSED',
] as const;

export type ErrorCode = (typeof errorCodes)[number];

/** The context of a {@link MatrixClientManagerError}. */
export interface ErrorContext {
  /** Matrix error code of the homeserver's response, such as `M_FORBIDDEN`. */
  readonly errcode?: string | undefined;
  /** HTTP status of the homeserver's response. */
  readonly status?: number | undefined;
  /** How long the homeserver asks to wait before the next try, in milliseconds. */
  readonly retryAfterMs?: number | undefined;
  readonly userId?: string | undefined;
  readonly roomId?: string | undefined;
  readonly cause?: unknown;
}

/**
 * The library's only error class. `code` identifies the problem; the message states operation, reason and remedy. The
 * message never contains a token or a password.
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

/** The error for an argument that the call cannot work with. */
export function invalidOptions(message: string, context?: ErrorContext): MatrixClientManagerError {
  return new MatrixClientManagerError('INVALID_OPTIONS', message, context);
}

/** Whether `error` is a MatrixClientManagerError and, if `codes` are given, has one of them. */
export function isManagerError(error: unknown, ...codes: ErrorCode[]): error is MatrixClientManagerError {
  return error instanceof MatrixClientManagerError && (codes.length === 0 || codes.includes(error.code));
}
