import { abortedError } from '../core/abort.js';
import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import { isError } from '../core/is-error.js';

interface MessageContext {
  readonly userId: string;
  readonly roomId: string;
}

/**
 * Converts an error of encrypting a message, which makes requests: to the code of a homeserver or network failure, to
 * `ABORTED` if the client was stopped, else to `ENCRYPTION_FAILED`. Only `ENCRYPTION_FAILED` is not retryable.
 */
export function encryptionFailure(error: unknown, context: MessageContext): MatrixClientManagerError {
  const operation = `encrypting for ${context.roomId}`;
  const { name, message: reason } = isError(error) ? error : { message: String(error) };
  if (isManagerError(error)) return error;
  if (name === 'AbortError') return abortedError(operation, error);
  const { httpStatus: status, errcode, data } = (error ?? {}) as SdkError;
  const message = `${operation} failed: ${reason}; nothing was sent`;
  const details = { ...context, status, errcode, cause: error };
  if (status === 429) {
    return new MatrixClientManagerError('RATE_LIMITED', message, { ...details, retryAfterMs: data?.retry_after_ms });
  }
  if (status !== undefined && status >= 500) {
    return new MatrixClientManagerError('HOMESERVER_UNAVAILABLE', message, details);
  }
  // The SDK wraps a network failure in an error that keeps only its message.
  return new MatrixClientManagerError(name === 'ConnectionError' ? 'NETWORK' : 'ENCRYPTION_FAILED', message, details);
}

/** The members of the SDK's `MatrixError` that are read here. */
interface SdkError {
  readonly httpStatus?: number;
  readonly errcode?: string;
  readonly data?: { readonly retry_after_ms?: number };
}
