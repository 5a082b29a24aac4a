import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import { isError } from '../../src/core/is-error.js';

it.each(['new Error("x")', 'new TypeError("x")', 'new (class extends Error {})("x")'])(
  'takes an error of another realm for one, as Node has it under Jest: %s',
  (code) => {
    const error: unknown = runInNewContext(code);
    expect(error instanceof Error).toBe(false);
    expect(isError(error)).toBe(true);
  },
);

it('takes errors that abort for errors', () => {
  expect(isError(AbortSignal.abort().reason)).toBe(true);
});

it.each([undefined, null, 'Error: x', { name: 'Error', message: 'x', stack: '' }])(
  'takes nothing else for one: %j',
  (value) => {
    expect(isError(value)).toBe(false);
  },
);
