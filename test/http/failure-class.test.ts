import { describe, expect, it } from 'vitest';
import { MatrixClientManagerError } from '../../src/core/errors.js';
import { failureClass } from '../../src/http/failure-class.js';

describe('the class of a failure', () => {
  it.each([
    ['RATE_LIMITED', undefined, 'rate-limited'],
    ['HOMESERVER_UNAVAILABLE', 503, 'transient'],
    ['HOMESERVER_UNAVAILABLE', undefined, 'unavailable'],
    ['NETWORK', undefined, 'transient'],
    ['TIMEOUT', undefined, 'transient'],
    ['INVALID_RESPONSE', 200, 'transient'],
    ['UNKNOWN_TOKEN', 401, 'unauthorised'],
    ['ABORTED', undefined, 'aborted'],
    ['FORBIDDEN', 403, 'permanent'],
    ['REJECTED', 400, 'permanent'],
  ] as const)('%s (status %s) is %s', (code, status, kind) => {
    expect(failureClass(new MatrixClientManagerError(code, 'x', { status }))).toBe(kind);
  });

  it.each([undefined, null, 'NETWORK', { code: 'NETWORK' }, Object.assign(new Error('x'), { code: 'TIMEOUT' })])(
    'is permanent of what is no error of the library, whatever its code (%j)',
    (thrown) => {
      expect(failureClass(thrown)).toBe('permanent');
    },
  );
});
