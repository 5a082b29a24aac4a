import type { RequestResult } from '../core/diagnostic-messages.js';
import { isManagerError } from '../core/errors.js';

/**
 * How callers react to a failure. Derived from the error's code; for `HOMESERVER_UNAVAILABLE` also from its status, because
 * a server has sent a 503 response, and the gate's refusal has no status.
 */
export type FailureClass = Exclude<RequestResult, 'ok'>;

/**
 * Whether the request is repeated after a back-off. False for `unavailable`: during an outage callers wait until the
 * homeserver is up.
 */
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
