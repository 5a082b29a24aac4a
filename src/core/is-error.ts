import { types } from 'node:util';

/**
 * Whether the value is an error. Under Jest, errors of Node's own modules (fetch, sqlite, fs) are created outside the
 * sandbox, so they are not instances of the sandbox's `Error`.
 */
export function isError(value: unknown): value is Error {
  return value instanceof Error || types.isNativeError(value);
}
