import { abortedError } from '../core/abort.js';
import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import { isError } from '../core/is-error.js';
import { networkFailure, wasNeverSent } from './network-failure.js';
import type { RequestContext } from './response-error.js';

/** A request that went out and got no answer, or not all of it. */
interface BrokenRequest extends RequestContext {
  /** Where it went. */
  readonly homeserverUrl: string;
  /** Its caller's. */
  readonly signal: AbortSignal | undefined;
  /** Where its time was over: what has not happened, such as `got no answer within 30000 ms`. */
  readonly late: string | undefined;
  /** What it held that must not be told. */
  readonly secrets: readonly string[];
}

/**
 * What a broken request fails with: `ABORTED` and `TIMEOUT` whatever was thrown, else the library's own error that
 * stands in `error` or is its cause, else `NETWORK`.
 */
export function failureOf(error: unknown, request: BrokenRequest): MatrixClientManagerError {
  const { operation, userId, roomId, homeserverUrl, signal, late, secrets } = request;
  if (signal?.aborted) return abortedError(operation, signal.reason);
  if (late !== undefined) return new MatrixClientManagerError('TIMEOUT', `${operation} ${late}`, { userId, roomId });
  const own = ownError(error);
  if (own) {
    const context = { status: own.status, userId, roomId, cause: own.cause };
    return new MatrixClientManagerError(own.code, `${operation} failed: ${own.message}`, context);
  }
  const { reason, cause } = networkFailure(error, secrets);
  const what = wasNeverSent(cause) ? `no connection to ${homeserverUrl}` : `the connection to ${homeserverUrl} broke`;
  const message = `${operation} failed: ${what} (${reason})`;
  return new MatrixClientManagerError('NETWORK', message, { userId, roomId, cause });
}

/** What a transport refused, or the body of the request failed with; fetch wraps it. */
function ownError(error: unknown): MatrixClientManagerError | undefined {
  const seen = new Set<unknown>();
  for (let at = error; isError(at) && !seen.has(at); at = at.cause) {
    if (isManagerError(at)) return at;
    seen.add(at);
  }
  return undefined;
}
