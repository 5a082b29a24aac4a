import { expect } from 'vitest';
import { MatrixClientManagerError } from '../../src/core/errors.js';

/** The manager's error that a call rejects with or throws; fails the test when it does neither. */
export async function rejection(call: Promise<unknown> | (() => unknown)): Promise<MatrixClientManagerError> {
  let error: unknown;
  try {
    await (typeof call === 'function' ? call() : call);
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toBeInstanceOf(MatrixClientManagerError);
  return error as MatrixClientManagerError;
}
