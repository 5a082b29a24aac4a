import { expect, test } from 'vitest';
import { errorCodes, httpStatus, MatrixClientManagerError } from '../../src/index.js';
import { read } from '../docs/pages.js';

const statusOf = (...args: ConstructorParameters<typeof MatrixClientManagerError>): number =>
  httpStatus(new MatrixClientManagerError(...args));

test('every code has a status of an HTTP error, which the reference lists', () => {
  const statuses = new Map(errorCodes.map((code) => [code, statusOf(code, 'x')]));
  for (const [code, status] of statuses) {
    expect([400, 401, 403, 404, 409, 413, 429, 500, 501, 502, 503, 504]).toContain(status);
    expect(read('docs/reference/errors.md')).toMatch(new RegExp(`\\| \`${code}\` \\| ${status} \\|`));
  }
  expect(Object.fromEntries(statuses)).toMatchObject({
    INVALID_OPTIONS: 400,
    UNKNOWN_TOKEN: 401,
    FORBIDDEN: 403,
    NOT_FOUND: 404,
    USER_EXISTS: 409,
    FILE_TOO_LARGE: 413,
    RATE_LIMITED: 429,
    STORAGE: 500,
    NETWORK: 502,
    HOMESERVER_UNAVAILABLE: 503,
    TIMEOUT: 504,
  });
});

test('a refusal of the content keeps its status, and no other status of the homeserver is passed on', () => {
  expect([400, 409, 413, 401, 403, 418, 302, undefined].map((status) => statusOf('REJECTED', 'x', { status }))).toEqual(
    [400, 409, 413, 502, 502, 502, 502, 502],
  );
  expect(statusOf('NOT_FOUND', 'x', { status: 400 })).toBe(404);
});

test.each([
  new Error('x'),
  'x',
  undefined,
  null,
  { code: 'NOT_FOUND' },
  Object.assign(new Error('x'), { status: 400 }),
])('anything else is a fault of the application: %s', (error) => {
  expect(httpStatus(error)).toBe(500);
});
