import type { Credentials } from '../core/credentials.js';
import { MatrixClientManagerError } from '../core/errors.js';
import type { ErrorCode } from '../core/errors.js';
import { describe } from '../core/ids.js';
import { isObject } from '../core/raw-event.js';

/** The credentials that were requested, and their source. */
export interface ExpectedCredentials {
  readonly userId: string;
  /** Undefined if any device is accepted. */
  readonly deviceId: string | undefined;
  /** Source of the credentials for the error message, such as "`credentials`". */
  readonly source: string;
  /** Code of the error for invalid credentials. */
  readonly code: ErrorCode;
}

/**
 * Checks that credentials from the application or the homeserver are the requested ones, so that a source that confuses
 * users does not give one user access to another's messages. The error contains no token.
 */
export function checkedCredentials(value: unknown, asked: ExpectedCredentials): Credentials {
  const problem = problemOf(value, asked);
  if (problem === undefined) return value as Credentials;
  const { userId, source, code } = asked;
  throw new MatrixClientManagerError(code, `${source} returned ${problem} for ${userId}; it is not used`, { userId });
}

function problemOf(value: unknown, asked: ExpectedCredentials): string | undefined {
  if (!isObject(value)) return `${value === null ? 'null' : typeof value} instead of credentials`; // the value is not printed: a string may be a token
  const { userId, accessToken, deviceId, refreshToken } = value;
  if (userId !== asked.userId) return `a session of ${describe(userId)}`;
  if (typeof deviceId !== 'string' || deviceId === '') return 'a session without deviceId';
  if (asked.deviceId !== undefined && deviceId !== asked.deviceId) {
    return `a session on device ${describe(deviceId)} instead of ${describe(asked.deviceId)}`;
  }
  if (typeof accessToken !== 'string' || !/^[\x21-\x7e]+$/.test(accessToken)) {
    return 'an accessToken that is not a string of visible ASCII characters';
  }
  if (refreshToken !== undefined && typeof refreshToken !== 'string') return 'a refreshToken that is not a string';
  return undefined;
}
