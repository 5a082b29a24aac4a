import { describe, expect, it } from 'vitest';
import { CallbackCall } from '../../src/callbacks/callback-call.js';
import { MatrixClientManagerError } from '../../src/core/errors.js';
import { ManualClock } from '../../src/testing/index.js';
import { rejection } from '../support/rejection.js';

function setUp(timeoutMs = 1_000) {
  const clock = new ManualClock();
  const source = { callback: () => {}, overdueCalls: 0 };
  const call = new CallbackCall({ userId: '@a:x', roomId: '!r:x', clock, timeoutMs, source });
  return { clock, source, call };
}

const reason = (message: string): MatrixClientManagerError => new MatrixClientManagerError('ABORTED', message);

describe('a call of a callback', () => {
  it.each([
    ['nothing', undefined],
    ['null', null],
    ['text', 'done'],
    // oxlint-disable-next-line unicorn/no-thenable -- what the test is about
    ['an object', { then: 'not a function' }],
    ['a function', () => {}],
  ])('ends at once when %s is returned', async (_, returned) => {
    const { clock, call } = setUp();
    const run = call.run(() => returned);
    expect(clock.pendingTimers).toBe(0);
    await call.waitEnded;
    await run;
  });

  it('waits for anything that has a then(), as for a promise', async () => {
    const { clock, call } = setUp();
    const thenable = Object.assign(() => {}, {
      // oxlint-disable-next-line unicorn/no-thenable -- what the test is about
      then: (resolve: () => void) => void clock.setTimeout(resolve, 500),
    });
    const run = call.run(() => thenable);
    let isWaitOver = false;
    void call.waitEnded.then(() => (isWaitOver = true));
    await clock.advance(499);
    expect(isWaitOver).toBe(false);
    await clock.advance(1);
    await run;
    expect(clock.pendingTimers).toBe(0);
  });

  it('rejects as the callback does, whether it throws or rejects', async () => {
    const error = new Error('refused');
    await expect(
      setUp().call.run(() => {
        throw error;
      }),
    ).rejects.toBe(error);
    await expect(setUp().call.run(() => Promise.reject(error))).rejects.toBe(error);
  });

  it('is overdue at its time limit, ends with TIMEOUT, and tells when it returns after all', async () => {
    const { clock, source, call } = setUp(1_000);
    const late = Promise.withResolvers<void>();
    const run = rejection(call.run(() => late.promise));
    await clock.advance(999);
    expect(source.overdueCalls).toBe(0);
    await clock.advance(1);
    expect(await run).toMatchObject({ code: 'TIMEOUT', userId: '@a:x', roomId: '!r:x' });
    await call.waitEnded;
    expect([source.overdueCalls, call.isAborted]).toEqual([1, true]);
    late.resolve();
    await clock.advance(0);
    expect(source.overdueCalls).toBe(0);
  });

  it('has no timer without a limit', async () => {
    const { clock, call } = setUp(Infinity);
    void call.run(() => new Promise(() => {}));
    expect(clock.pendingTimers).toBe(0);
  });

  it('goes on after an abort, and what it returns counts', async () => {
    const { call } = setUp();
    const callback = Promise.withResolvers<void>();
    const { signal } = call;
    const run = call.run(() => callback.promise);
    expect(call.isAborted).toBe(false);
    call.abort(reason('first'));
    call.abort(reason('second'));
    expect(signal.reason).toMatchObject({ message: 'first' });
    expect(call.isAborted).toBe(true);
    callback.resolve();
    await run;
  });

  it('has a signal that fired already where it was aborted before somebody asked for it', () => {
    const { call } = setUp();
    void call.run(() => new Promise(() => {}));
    call.abort(reason('stopped'));
    expect(call.signal.aborted).toBe(true);
    expect(call.signal.reason).toMatchObject({ message: 'stopped' });
  });

  it('ends with the reason of an interruption, and leaves no timer', async () => {
    const { clock, source, call } = setUp();
    const run = rejection(call.run(() => new Promise(() => {})));
    call.interrupt(reason('closed'));
    expect(await run).toMatchObject({ code: 'ABORTED', message: 'closed' });
    expect(clock.pendingTimers).toBe(0);
    expect(source.overdueCalls).toBe(0);
  });

  it('may be interrupted before it runs', () => {
    const { call } = setUp();
    call.interrupt(reason('closed'));
    expect(call.isAborted).toBe(true);
  });
});
