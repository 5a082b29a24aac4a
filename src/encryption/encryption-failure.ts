import { abortedError } from '../core/abort.js';
import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import { isError } from '../core/is-error.js';

interface Subject {
  readonly userId: string;
  readonly roomId: string;
}

/**
 * Why a message could not be encrypted, which took requests: what the homeserver or the way to it fails with, `ABORTED`
 * where the client was stopped, else `ENCRYPTION_FAILED`. Only the last is a reason not to try again.
 */
export function encryptionFailure(error: unknown, subject: Subject): MatrixClientManagerError {
  const operation = `encrypting for ${subject.roomId}`;
  const { name, message: why } = isError(error) ? error : { message: String(error) };
  if (isManagerError(error)) return error;
  if (name === 'AbortError') return abortedError(operation, error);
  const { httpStatus: status, errcode, data } = (error ?? {}) as SdkError;
  const message = `${operation} failed: ${why}; nothing was sent`;
  const context = { ...subject, status, errcode, cause: error };
  if (status === 429) {
    return new MatrixClientManagerError('RATE_LIMITED', message, { ...context, retryAfterMs: data?.retry_after_ms });
  }
  if (status !== undefined && status >= 500) {
    return new MatrixClientManagerError('HOMESERVER_UNAVAILABLE', message, context);
  }
  // The SDK keeps nothing but the words of what its fetch fails with.
  return new MatrixClientManagerError(name === 'ConnectionError' ? 'NETWORK' : 'ENCRYPTION_FAILED', message, context);
}

/** What is read of the SDK's `MatrixError`. */
interface SdkError {
  readonly httpStatus?: number;
  readonly errcode?: string;
  readonly data?: { readonly retry_after_ms?: number };
}
