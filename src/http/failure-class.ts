import { isManagerError } from '../core/errors.js';

/** How callers react to a failure. It is derived from the error code only, which `errorFromResponse` has set. */
export type FailureClass =
  | 'rate-limited'
  | 'transient'
  /** Not sent, because the homeserver is known to be down. Callers that can wait do so until it is up again. */
  | 'unavailable'
  | 'unauthorised'
  | 'aborted'
  | 'permanent';

/** Whether the same request may succeed later. */
export function isRetryable(kind: FailureClass): boolean {
  return kind === 'transient' || kind === 'rate-limited';
}

/** The class of an error thrown by `HomeserverHttp`. Unknown errors are permanent, because they may be bugs. */
export function failureClass(error: unknown): FailureClass {
  if (!isManagerError(error)) return 'permanent';
  switch (error.code) {
    case 'RATE_LIMITED':
      return 'rate-limited';
    case 'HOMESERVER_UNAVAILABLE':
      return error.status === undefined ? 'unavailable' : 'transient';
    case 'NETWORK':
    case 'TIMEOUT':
    case 'INVALID_RESPONSE':
      return 'transient';
    case 'UNKNOWN_TOKEN':
      return 'unauthorised';
    case 'ABORTED':
      return 'aborted';
    default:
      return 'permanent';
  }
}
