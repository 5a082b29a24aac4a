import { describe, expect, it } from 'vitest';
import { boundedAuthentication, setUpFailure } from '../../src/encryption/identity/identity-failures.js';
import type { AuthUploadDeviceSigningKeys } from '../../src/encryption/identity/identity-options.js';
import { FakeHomeserver } from '../../src/testing/fake-homeserver/fake-homeserver.js';
import { ManualClock } from '../../src/testing/manual-clock.js';
import { advanceUntil } from '../support/advance-until.js';
import { rejection } from '../support/rejection.js';
import { Deployment } from './support/encrypted-chats.js';

type MakeRequest = Parameters<AuthUploadDeviceSigningKeys>[0];

/** What an authentication comes to in two minutes, and the requests that were made. */
async function endOf(
  authenticate: AuthUploadDeviceSigningKeys,
  answer: (clock: ManualClock) => Promise<void> = async () => {},
) {
  const clock = new ManualClock();
  const requests: unknown[] = [];
  const makeRequest: MakeRequest = async (auth) => {
    requests.push(auth);
    await answer(clock);
  };
  let end: unknown = 'still waiting';
  boundedAuthentication(
    { userId: '@a:x', clock },
    authenticate,
  )(makeRequest).then(
    () => (end = 'done'),
    (error: unknown) => (end = error),
  );
  await clock.advance(120_000);
  return { end, requests, timers: clock.pendingTimers };
}

const failed = { code: 'ENCRYPTION_SETUP_FAILED', userId: '@a:x' };

it.each<[string, AuthUploadDeviceSigningKeys, string]>([
  ['hangs', () => new Promise(() => {}), 'took longer than 30000 ms'],
  [
    'hangs after a request',
    async (makeRequest) => {
      await makeRequest(null);
      await new Promise(() => {});
    },
    'took longer than 30000 ms',
  ],
  ['returns nothing', (() => {}) as never, 'has made no successful request'],
  ['returns something else', (() => 7) as never, 'has made no successful request'],
])('an authenticate that %s fails the call with a code', async (_, authenticate, why) => {
  const { end, timers } = await endOf(authenticate);
  expect(end).toMatchObject({ ...failed, message: expect.stringContaining(why) });
  expect(timers).toBe(0);
});

it.each<[string, AuthUploadDeviceSigningKeys]>([
  [
    'throws',
    () => {
      throw new RangeError('no');
    },
  ],
  ['rejects', () => Promise.reject(new RangeError('no'))],
])('an authenticate that %s ends the call with its error', async (_, authenticate) => {
  expect(await endOf(authenticate)).toMatchObject({ end: new RangeError('no'), requests: [], timers: 0 });
});

it('makes no request once its time is over, since the keys would be replaced after the call has failed', async () => {
  const late: unknown[] = [];
  const clock = new ManualClock();
  const authenticate: AuthUploadDeviceSigningKeys = async (makeRequest) => {
    await new Promise<void>((resolve) => clock.setTimeout(resolve, 60_000));
    await makeRequest({ late: true }).catch((error: unknown) => late.push(error));
  };
  const requests: unknown[] = [];
  const call = boundedAuthentication({ userId: '@a:x', clock }, authenticate)(async (auth) => void requests.push(auth));
  expect(await rejection(advanceUntil(clock, call, { stepMs: 1_000 }))).toMatchObject(failed);
  await clock.advance(60_000);
  expect([requests, late]).toMatchObject([[], [failed]]);
});

describe('an authenticate that does not await its request', () => {
  const slow =
    (settle: (() => void) | undefined) =>
    async (clock: ManualClock): Promise<void> => {
      await new Promise<void>((resolve) => clock.setTimeout(resolve, 1_000));
      settle?.();
    };
  const refuse = (): void => {
    throw new Error('401');
  };

  it('ends with the success of the request', async () => {
    const authenticate: AuthUploadDeviceSigningKeys = async (makeRequest) => void makeRequest(null);
    expect(await endOf(authenticate, slow(undefined))).toMatchObject({ end: 'done', requests: [null], timers: 0 });
  });

  it('leaves no unhandled rejection, which would end the process', async () => {
    const authenticate: AuthUploadDeviceSigningKeys = async (makeRequest) => void makeRequest(null);
    const { end, timers } = await endOf(authenticate, slow(refuse));
    expect(end).toMatchObject({ ...failed, message: expect.stringContaining('has made no successful request') });
    expect(timers).toBe(0);
  });

  it('has the requests that follow a refused one sent before the call ends', async () => {
    let refusals = 1;
    const refuseFirst = (): void => {
      if (refusals-- > 0) refuse();
    };
    const authenticate: AuthUploadDeviceSigningKeys = async (makeRequest) =>
      void makeRequest(null).catch(() => makeRequest({ session: 's' }));
    const { end, requests } = await endOf(authenticate, slow(refuseFirst));
    expect([end, requests]).toEqual(['done', [null, { session: 's' }]]);
  });

  it('fails with its own error only after the request has ended', async () => {
    const settled: string[] = [];
    const authenticate: AuthUploadDeviceSigningKeys = async (makeRequest) => {
      void makeRequest(null);
      throw new RangeError('no');
    };
    const clock = new ManualClock();
    const bounded = boundedAuthentication({ userId: '@a:x', clock }, authenticate);
    const call = bounded(async () => {
      await slow(() => settled.push('request'))(clock);
    }).catch(() => settled.push('call'));
    await advanceUntil(clock, call, { stepMs: 100 });
    expect(settled).toEqual(['request', 'call']);
  });

  it('leaves no unhandled rejection after its time is over', async () => {
    const clock = new ManualClock();
    const requests: unknown[] = [];
    const late: AuthUploadDeviceSigningKeys = async (makeRequest) => {
      await new Promise<void>((resolve) => clock.setTimeout(resolve, 60_000));
      void makeRequest(null);
    };
    const call = boundedAuthentication({ userId: '@a:x', clock }, late)(async (auth) => void requests.push(auth));
    expect(await rejection(advanceUntil(clock, call, { stepMs: 1_000 }))).toMatchObject(failed);
    await clock.advance(60_000);
    expect(requests).toEqual([]);
  });
});

it('has its full time beside what the homeserver takes for a request', async () => {
  const slow = (clock: ManualClock): Promise<void> => new Promise((resolve) => clock.setTimeout(resolve, 40_000));
  const authenticate: AuthUploadDeviceSigningKeys = async (makeRequest) => {
    await makeRequest(null);
    await makeRequest({ type: 'm.login.password' });
  };
  expect(await endOf(authenticate, slow)).toMatchObject({
    end: 'done',
    requests: [null, { type: 'm.login.password' }],
    timers: 0,
  });
});

it('is bounded so in resetIdentity(), which can be called again', async () => {
  const clock = new ManualClock();
  const deployment = new Deployment(new FakeHomeserver({ clock }));
  const encryption = {
    path: deployment.cryptoPath,
    secret: new Uint8Array(32).fill(7),
    onRecoveryKey: () => {},
    recoveryKey: () => null,
  };
  const manager = deployment.start({ clock, encryption });
  const soon = <T>(work: Promise<T>): Promise<T> => advanceUntil(clock, work, { stepMs: 10 });
  const alice = await soon(deployment.user(manager));
  await soon(manager.startClient({ userId: alice }));
  const hanging = manager.resetIdentity(alice, { authenticate: () => new Promise(() => {}) });
  expect(await rejection(soon(hanging))).toMatchObject({ code: 'ENCRYPTION_SETUP_FAILED', userId: alice });
  expect(await soon(manager.resetIdentity(alice))).toMatchObject({ crossSigned: true });
  await soon(manager.shutdown());
});

it.each<[string, unknown]>([
  ['undefined', undefined],
  ['null', null],
  ['an object without a prototype', Object.create(null)],
  ['a symbol', Symbol('no')],
  ['a string, which is not quoted', 'password'],
])('an authenticate that rejects with %s fails the reset with ENCRYPTION_SETUP_FAILED', (_, thrown) => {
  const failure = setUpFailure('@a:x', thrown);
  expect(failure).toMatchObject({ ...failed, message: expect.stringContaining('a value that is not an Error') });
  expect(failure.message).not.toContain('password');
});
