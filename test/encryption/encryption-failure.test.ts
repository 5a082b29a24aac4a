import { ConnectionError, MatrixError } from 'matrix-js-sdk';
import { describe, expect, it } from 'vitest';
import { MatrixClientManagerError } from '../../src/core/errors.js';
import { encryptionFailure } from '../../src/encryption/encryption-failure.js';
import { failureClass } from '../../src/http/failure-class.js';

const failureOf = (error: unknown): MatrixClientManagerError =>
  encryptionFailure(error, 'encrypting', { userId: '@a:x', roomId: '!r:x', code: 'ENCRYPTION_FAILED' });

describe('a message that could not be encrypted', () => {
  const broken = new MatrixClientManagerError('NETWORK', 'the connection broke');
  it.each([
    ['the connection broke', new ConnectionError('fetch failed', broken), 'NETWORK', 'transient'],
    ['the homeserver was in trouble', new MatrixError({}, 502), 'HOMESERVER_UNAVAILABLE', 'transient'],
    ['there was a rate limit', new MatrixError({ retry_after_ms: 7 }, 429), 'RATE_LIMITED', 'rate-limited'],
    ['its client was stopped', new DOMException('over', 'AbortError'), 'ABORTED', 'aborted'],
    ['the homeserver refused', new MatrixError({ errcode: 'M_FORBIDDEN' }, 403), 'ENCRYPTION_FAILED', 'permanent'],
    ['the crypto library did not', new Error('unconfigured room'), 'ENCRYPTION_FAILED', 'permanent'],
    ['nobody knows', undefined, 'ENCRYPTION_FAILED', 'permanent'],
  ])('because %s says so, for a durable one to be tried again', (_why, error, code, kind) => {
    const failure = failureOf(error);
    expect([failure.code, failureClass(failure)]).toEqual([code, kind]);
  });

  it('says how long a rate limit lasts', () => {
    expect(failureOf(new MatrixError({ retry_after_ms: 7 }, 429))).toMatchObject({ retryAfterMs: 7 });
    for (const junk of ['7', null, {}, -1]) {
      expect(failureOf(new MatrixError({ retry_after_ms: junk }, 429))).not.toHaveProperty('retryAfterMs');
    }
  });
});
