import { isManagerError } from './errors.js';
import type { ErrorCode } from './errors.js';

/** The status for each code. `docs/reference/errors.md` lists them. @internal */
export const httpStatusByCode: Readonly<Record<ErrorCode, number>> = {
  INVALID_OPTIONS: 400,
  INVALID_USER_ID: 400,
  USER_EXISTS: 409,
  USER_DEACTIVATED: 403,
  FORBIDDEN: 403,
  NOT_FOUND: 404,
  RATE_LIMITED: 429,
  UNKNOWN_TOKEN: 401,
  HOMESERVER_UNAVAILABLE: 503,
  INVALID_RESPONSE: 502,
  REJECTED: 502,
  UNSUPPORTED: 501,
  NETWORK: 502,
  TIMEOUT: 504,
  ABORTED: 503,
  CLIENT_NOT_STARTED: 409,
  CLIENT_FAILED: 503,
  ENCRYPTION_UNAVAILABLE: 501,
  ENCRYPTION_FAILED: 503,
  ENCRYPTION_STORE_IN_USE: 503,
  ENCRYPTION_STORE_DAMAGED: 500,
  ENCRYPTION_STORE_ROLLED_BACK: 500,
  ENCRYPTION_DEVICE_MISMATCH: 500,
  ENCRYPTION_RECOVERY_KEY: 400,
  ENCRYPTION_SETUP_FAILED: 502,
  ENCRYPTION_UNVERIFIED: 409,
  VERIFICATION_ENDED: 409,
  FILE_TOO_LARGE: 413,
  FILE_DAMAGED: 502,
  ENCRYPTED_ROOM: 409,
  INVALID_CURSOR: 400,
  STORAGE: 500,
  STORAGE_LOCKED: 503,
  OWNED_ELSEWHERE: 503,
  MANAGER_CLOSED: 503,
};

const statuses = new Map<string, number>(Object.entries(httpStatusByCode));

/** Statuses of a refusal that concern the request's content. Others could be mistaken for those of the application. */
const PASSED_ON = new Set([400, 409, 413]);

/**
 * The HTTP status with which an application answers a request that failed with `error`; 500 if it is no
 * {@link MatrixClientManagerError}. For `REJECTED` it is the homeserver's own status if that is 400, 409 or 413. The
 * reference of the error codes lists the status of each code.
 *
 * @example
 * response.status(httpStatus(error)).json({ error: isManagerError(error) ? error.code : 'INTERNAL' });
 */
export function httpStatus(error: unknown): number {
  if (!isManagerError(error)) return 500;
  const { code, status } = error;
  if (code === 'REJECTED' && status !== undefined && PASSED_ON.has(status)) return status;
  return statuses.get(code) ?? 500;
}
