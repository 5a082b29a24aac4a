import { isManagerError } from '../core/errors.js';

/**
 * What a failure means for whoever sees it. Decided once, here and in `errorFromResponse`; retries, sync loops and
 * lifecycles only read it.
 */
export type FailureClass =
  | 'rate-limited'
  | 'transient'
  /** Not tried: the homeserver is known to be down. Whoever can waits until it is up. */
  | 'unavailable'
  | 'unauthorised'
  | 'aborted'
  | 'permanent';

/** Whether the same request may succeed at another time. */
export function isRetryable(kind: FailureClass): boolean {
  return kind === 'transient' || kind === 'rate-limited';
}

/** The class of an error thrown by `HomeserverHttp`. Anything unknown is permanent: a bug must not be retried. */
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
