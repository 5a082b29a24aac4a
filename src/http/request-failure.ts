import { abortedError } from '../core/abort.js';
import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import { isError } from '../core/is-error.js';
import type { RequestContext } from './response-error.js';
import { withoutSecrets } from './secrets.js';

/** A request that was sent and got no response, or only a part of one. */
interface FailedRequest extends RequestContext {
  /** The URL that the request was sent to. */
  readonly homeserverUrl: string;
  /** The caller's signal. */
  readonly signal?: AbortSignal | undefined;
  /** After a timeout: the predicate of the message, such as `got no response within 30000 ms`. */
  readonly timeoutText: string | undefined;
  /** Values in the request that must not appear in the error. */
  readonly secrets: readonly string[];
}

/**
 * The error for a request that failed without a response. `ABORTED` or `TIMEOUT` if the signal or the timeout fired;
 * else the library's own error in the cause chain of `error`; else `NETWORK`.
 */
export function toRequestError(error: unknown, request: FailedRequest): MatrixClientManagerError {
  const { operation, userId, roomId, homeserverUrl, signal, timeoutText, secrets } = request;
  if (signal?.aborted) return abortedError(operation, signal.reason);
  if (timeoutText !== undefined)
    return new MatrixClientManagerError('TIMEOUT', `${operation} ${timeoutText}`, { userId, roomId });
  const own = findManagerError(error);
  if (own) {
    const context = { status: own.status, userId, roomId, cause: own.cause };
    return new MatrixClientManagerError(own.code, `${operation} failed: ${own.message}`, context);
  }
  const { reason, cause } = networkFailure(error, secrets);
  const problem = wasNeverSent(cause)
    ? `no connection to ${homeserverUrl}`
    : `the connection to ${homeserverUrl} broke`;
  const message = `${operation} failed: ${problem} (${reason})`;
  return new MatrixClientManagerError('NETWORK', message, { userId, roomId, cause });
}

/** The library's own error in the cause chain: fetch wraps the errors of a transport or a request body. */
function findManagerError(error: unknown): MatrixClientManagerError | undefined {
  const seen = new Set<unknown>();
  for (let at = error; isError(at) && !seen.has(at); at = at.cause) {
    if (isManagerError(at)) return at;
    seen.add(at);
  }
  return undefined;
}

/** Error codes of failures in which the request never reached the homeserver. */
const NEVER_SENT = new Set<string | undefined>([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
]);

/** Why a connection failed. */
export interface NetworkFailure {
  /** The system's error code, such as `ECONNREFUSED`, from the innermost cause. Without a code, that cause's message. */
  readonly reason: string;
  /**
   * A copy of the innermost error that is safe to log. The original may hold the request, and with it the access token.
   */
  readonly cause: Error;
}

/** @internal for tests */
export function networkFailure(error: unknown, secrets: readonly string[]): NetworkFailure {
  const root = rootCause(error);
  const message = isError(root) ? root.message : 'a fetch function threw a value that is not an Error';
  const cause = new Error(withoutSecrets(message, secrets));
  const code = codeOf(root);
  if (isError(root)) {
    cause.name = root.name;
    cause.stack = withoutSecrets(root.stack ?? '', secrets);
    if (code !== undefined) Object.assign(cause, { code, ...('syscall' in root && { syscall: root.syscall }) });
  }
  return { reason: code ?? cause.message, cause };
}

/** Whether the cause of a failure proves that the request never reached the homeserver. */
export function wasNeverSent(cause: unknown): boolean {
  // An open connection can also fail as unreachable, after a part of the request was sent.
  const wasConnected = isError(cause) && 'syscall' in cause && ['read', 'write'].includes(String(cause.syscall));
  return NEVER_SENT.has(codeOf(cause)) && !wasConnected;
}

function codeOf(error: unknown): string | undefined {
  return isError(error) && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

function rootCause(error: unknown): unknown {
  const seen = new Set<unknown>();
  let root = error;
  while (isError(root) && root.cause !== undefined && !seen.has(root)) {
    seen.add(root);
    root = root.cause;
  }
  return root;
}
