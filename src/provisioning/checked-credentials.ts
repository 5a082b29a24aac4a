import type { Credentials } from '../core/credentials.js';
import { MatrixClientManagerError } from '../core/errors.js';
import type { ErrorCode } from '../core/errors.js';
import { describe } from '../core/ids.js';
import { isObject } from '../core/raw-event.js';

/** What credentials are asked for, and who gave them. */
export interface AskedCredentials {
  readonly userId: string;
  /** Undefined where any device will do. */
  readonly deviceId: string | undefined;
  /** Who answers, as the start of a sentence: "`credentials`". */
  readonly source: string;
  /** Of the error when the answer is of no use. */
  readonly code: ErrorCode;
}

/**
 * Credentials from outside, checked to be what was asked for. A source that mixes users up must not put one user's
 * messages into another's hands. The error shows no token.
 */
export function checkedCredentials(value: unknown, asked: AskedCredentials): Credentials {
  const problem = problemOf(value, asked);
  if (problem === undefined) return value as Credentials;
  const { userId, source, code } = asked;
  throw new MatrixClientManagerError(code, `${source} gave ${problem} for ${userId}; it is not used`, { userId });
}

function problemOf(value: unknown, asked: AskedCredentials): string | undefined {
  if (!isObject(value)) return `${value === null ? 'null' : typeof value} instead of credentials`; // text may be a token
  const { userId, accessToken, deviceId, refreshToken } = value;
  if (userId !== asked.userId) return `a session of ${describe(userId)}`;
  if (typeof deviceId !== 'string' || deviceId === '') return 'a session without deviceId';
  if (asked.deviceId !== undefined && deviceId !== asked.deviceId) {
    return `a session on device ${describe(deviceId)} instead of ${describe(asked.deviceId)}`;
  }
  if (typeof accessToken !== 'string' || !/^[\x21-\x7e]+$/.test(accessToken)) {
    return 'an accessToken that is no string of visible ASCII characters';
  }
  if (refreshToken !== undefined && typeof refreshToken !== 'string') return 'a refreshToken that is no string';
  return undefined;
}
