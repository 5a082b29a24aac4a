import { types } from 'node:util';

/**
 * Whether the value is an error. Under Jest, errors of Node's own modules (fetch, sqlite, fs) come from outside of the
 * sandbox, so they are no instances of the sandbox's `Error`.
 */
export function isError(value: unknown): value is Error {
  return value instanceof Error || types.isNativeError(value);
}
