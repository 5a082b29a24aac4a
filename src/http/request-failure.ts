import { abortedError } from '../core/abort.js';
import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import { isError } from '../core/is-error.js';
import { networkFailure, wasNeverSent } from './network-failure.js';
import type { RequestContext } from './response-error.js';

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
