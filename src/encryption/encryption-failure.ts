import { abortedError } from '../core/abort.js';
import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import type { ErrorCode } from '../core/errors.js';
import { isError } from '../core/is-error.js';

interface FailureContext {
  readonly userId: string;
  readonly roomId?: string;
  /** The code of other errors. @default 'REJECTED' if the homeserver refused a request, else 'CLIENT_FAILED' */
  readonly code?: ErrorCode;
}

/**
 * Converts an error of the SDK's encryption, which makes requests: to the code of a homeserver or network failure, to
 * `ABORTED` if the client was stopped, else to `code`. The message consists of `operation`, the reason and `outcome`.
 */
export function encryptionFailure(
  error: unknown,
  operation: string,
  { code, ...context }: FailureContext,
  outcome = '',
): MatrixClientManagerError {
  if (isManagerError(error)) return error;
  const { name, message: reason } = isError(error) ? error : { message: String(error) };
  if (name === 'AbortError') return abortedError(operation, error);
  const { httpStatus: status, errcode, data } = (error ?? {}) as SdkError;
  const message = `${operation} failed: ${reason}${outcome}`;
  const details = { ...context, status, errcode, cause: error };
  if (status === 429) {
    const given = data?.retry_after_ms;
    const retryAfterMs = typeof given === 'number' && given >= 0 ? given : undefined;
    return new MatrixClientManagerError('RATE_LIMITED', message, { ...details, retryAfterMs });
  }
  if (status !== undefined && status >= 500) {
    return new MatrixClientManagerError('HOMESERVER_UNAVAILABLE', message, details);
  }
  // The SDK wraps a network failure in an error that keeps only its message.
  if (name === 'ConnectionError') return new MatrixClientManagerError('NETWORK', message, details);
  return new MatrixClientManagerError(code ?? (status === undefined ? 'CLIENT_FAILED' : 'REJECTED'), message, details);
}

/** The members of the SDK's `MatrixError` that are read here. */
interface SdkError {
  readonly httpStatus?: number;
  readonly errcode?: string;
  readonly data?: { readonly retry_after_ms?: unknown };
}
