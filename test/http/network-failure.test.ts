import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { networkFailure, wasNeverSent } from '../../src/http/request-failure.js';

const failure = (message: string, fields: object = {}): Error => Object.assign(new Error(message), fields);

describe('a failed connection', () => {
  it('has the code of its innermost cause as its reason', () => {
    const root = failure('connect failed', { code: 'ECONNREFUSED', syscall: 'connect' });
    const { reason, cause } = networkFailure(
      new TypeError('fetch failed', { cause: failure('x', { cause: root }) }),
      [],
    );
    expect(reason).toBe('ECONNREFUSED');
    expect(cause).toMatchObject({ message: 'connect failed', code: 'ECONNREFUSED', syscall: 'connect' });
    expect(cause).not.toBe(root);
  });

  it('is read from an error of another realm too, as those of fetch are under Jest', () => {
    const thrown: unknown = runInNewContext(
      'new TypeError("fetch failed", { cause: Object.assign(new Error("no"), { code: "ECONNREFUSED", syscall: "connect" }) })',
    );
    const { reason, cause } = networkFailure(thrown, []);
    expect(reason).toBe('ECONNREFUSED');
    expect(wasNeverSent(cause)).toBe(true);
  });

  it('has its message as its reason without a code, and no code that is no text', () => {
    const { reason, cause } = networkFailure(failure('socket gone', { code: 7, name: 'SocketError' }), []);
    expect([reason, cause.name]).toEqual(['socket gone', 'SocketError']);
    expect(cause).not.toHaveProperty('code');
    expect(cause).not.toHaveProperty('syscall');
  });

  it('has no secret in its message or stack', () => {
    const { reason, cause } = networkFailure(failure('no way to ?token=s3cret-token'), ['s3cret-token']);
    expect(`${reason} ${cause.message} ${cause.stack}`).not.toContain('s3cret-token');
    expect(cause.stack).toContain('network-failure.test');
  });

  it('has no stack where the error had none', () => {
    const bare = failure('gone', { stack: undefined });
    expect(networkFailure(bare, []).cause.stack).toBe('');
  });

  it.each([undefined, null, 'text', { message: 'like an error' }])('may be no error at all (%j)', (thrown) => {
    expect(networkFailure(thrown, []).cause).toBeInstanceOf(Error);
  });

  it('may name itself as its cause, by a detour', () => {
    const [one, other] = [failure('one'), failure('other')];
    Object.assign(one, { cause: other });
    Object.assign(other, { cause: one });
    expect(['one', 'other']).toContain(networkFailure(one, []).reason);
  });
});

describe('a request', () => {
  it.each(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'UND_ERR_CONNECT_TIMEOUT'])(
    'was never sent with %s, unless the connection was there',
    (code) => {
      expect(wasNeverSent(failure('x', { code }))).toBe(true);
      expect(wasNeverSent(failure('x', { code, syscall: 'connect' }))).toBe(true);
      expect(wasNeverSent(failure('x', { code, syscall: 'read' }))).toBe(false);
      expect(wasNeverSent(failure('x', { code, syscall: 'write' }))).toBe(false);
    },
  );

  it.each([failure('x', { code: 'ECONNRESET' }), failure('x'), { code: 'ECONNREFUSED' }, undefined])(
    'may have been sent with another failure',
    (cause) => {
      expect(wasNeverSent(cause)).toBe(false);
    },
  );
});
