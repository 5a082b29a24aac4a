import { describe, expect, it } from 'vitest';
import type { Credentials } from '../../src/core/credentials.js';
import { MatrixClientManagerError } from '../../src/core/errors.js';
import { Session } from '../../src/http/session.js';
import { withSession } from '../../src/http/with-session.js';
import { rejection } from '../support/rejection.js';

const userId = '@alice:hs';
const credentials = (accessToken: string): Credentials => ({ userId, accessToken, deviceId: 'D' });
const rejected = (): MatrixClientManagerError => new MatrixClientManagerError('UNKNOWN_TOKEN', 'rejected');

/** A send that fails with one error after the other, then succeeds, and a session that renews its token. */
function setUp(...errors: Error[]) {
  const tokens: string[] = [];
  const state = { renewals: 0 };
  const renew = async (): Promise<Credentials> => credentials(`token-${++state.renewals + 1}`);
  const send = async (accessToken: string): Promise<string> => {
    tokens.push(accessToken);
    const error = errors.shift();
    if (error) throw error;
    return 'sent';
  };
  return { tokens, state, renew, send, session: new Session(userId, credentials('token-1'), renew) };
}

describe('a request with a session', () => {
  it('is sent once, with the token of the session', async () => {
    const { tokens, state, send, session } = setUp();
    expect(await withSession(session, { operation: 'sending' }, send)).toBe('sent');
    expect([tokens, state.renewals]).toEqual([['token-1'], 0]);
  });

  it('is sent once more, with a new token, when the homeserver rejects the first', async () => {
    const { tokens, state, send, session } = setUp(rejected());
    expect(await withSession(session, { operation: 'sending' }, send)).toBe('sent');
    expect([tokens, state.renewals]).toEqual([['token-1', 'token-2'], 1]);
  });

  it('is not sent a third time', async () => {
    const second = rejected();
    const { tokens, state, send, session } = setUp(rejected(), second);
    await expect(withSession(session, { operation: 'sending' }, send)).rejects.toBe(second);
    expect([tokens, state.renewals]).toEqual([['token-1', 'token-2'], 1]);
  });

  it('is not sent again after another failure', async () => {
    for (const error of [new MatrixClientManagerError('FORBIDDEN', 'x'), new TypeError('a bug')]) {
      const { tokens, state, send, session } = setUp(error);
      await expect(withSession(session, { operation: 'sending' }, send)).rejects.toBe(error);
      expect([tokens, state.renewals]).toEqual([['token-1'], 0]);
    }
  });

  it('fails with the rejection where the session cannot be renewed', async () => {
    const error = rejected();
    const { tokens, send } = setUp(error);
    await expect(withSession(new Session(userId, credentials('token-1')), { operation: 'sending' }, send)).rejects.toBe(
      error,
    );
    expect(tokens).toEqual(['token-1']);
  });

  it('logs in first where there is no token yet', async () => {
    const { tokens, send, renew } = setUp();
    expect(await withSession(new Session(userId, undefined, renew), { operation: 'sending' }, send)).toBe('sent');
    expect(tokens).toEqual(['token-2']);
  });

  it('tells its sender the second time why the first token was rejected', async () => {
    const error = rejected();
    const { send, session } = setUp(error);
    const told: unknown[] = [];
    await withSession(session, { operation: 'sending' }, (accessToken, rejection) => {
      told.push([accessToken, rejection]);
      return send(accessToken);
    });
    expect(told).toEqual([
      ['token-1', undefined],
      ['token-2', error],
    ]);
  });
});

describe('a request with a session whose caller leaves', () => {
  it('neither logs in nor is sent', async () => {
    const { tokens, state, send, renew, session } = setUp();
    const request = { operation: 'sending', signal: AbortSignal.abort() };
    for (const given of [session, new Session(userId, undefined, renew)]) {
      const error = await rejection(withSession(given, request, send));
      expect(error).toMatchObject({ code: 'ABORTED', message: 'sending was aborted' });
    }
    expect([tokens, state.renewals]).toEqual([[], 0]);
  });

  it('waits neither for a login nor for a renewal', async () => {
    for (const given of [undefined, credentials('token-1')]) {
      const { send } = setUp(rejected());
      const leaving = new AbortController();
      const session = new Session(userId, given, () => new Promise(() => {}));
      const failure = rejection(withSession(session, { operation: 'sending', signal: leaving.signal }, send));
      await Promise.resolve();
      leaving.abort();
      expect(await failure).toMatchObject({ code: 'ABORTED', message: 'sending was aborted' });
    }
  });
});
