import { describe, expect, it } from 'vitest';
import { RunningCalls } from '../../src/callbacks/running-calls.js';
import type { CallSource } from '../../src/callbacks/callback-call.js';
import { ManualClock } from '../../src/testing/index.js';
import { testContext } from '../support/context.js';
import { messageEvent } from './message-event.js';

const alice = '@alice:hs.test';
const bob = '@bob:hs.test';

function setUp() {
  const clock = new ManualClock();
  const calls = new RunningCalls(testContext({ clock }), 1_000);
  const ends: PromiseWithResolvers<void>[] = [];
  const source = (): CallSource => ({ callback: async () => {}, overdueCalls: 0 });
  /** A call that runs until its `ends` is resolved. */
  const begin = (of: CallSource, userId = alice) => {
    const event = messageEvent({ userId });
    const call = calls.prepare(of, event);
    const end = Promise.withResolvers<void>();
    ends.push(end);
    const run = calls.run(call, () => end.promise, event, 1).catch((error: unknown) => error);
    return { call, run };
  };
  return { clock, calls, ends, source, begin };
}

describe('running calls', () => {
  it('count as overdue from their time limit until each of them has returned', async () => {
    const { clock, ends, source, begin } = setUp();
    const of = source();
    const runs = [begin(of), begin(of)].map(({ run }) => run);
    expect(of.overdueCalls).toBe(0);
    await clock.advance(1_000);
    for (const error of await Promise.all(runs)) expect(error).toMatchObject({ code: 'TIMEOUT' });
    expect(of.overdueCalls).toBe(2);
    for (const [index, end] of ends.entries()) {
      end.resolve();
      await clock.advance(0);
      expect(of.overdueCalls).toBe(1 - index);
    }
  });

  it('of one user are told to end, and not those of another', async () => {
    const { calls, source, begin } = setUp();
    const [ofAlice, ofBob] = [begin(source()).call, begin(source(), bob).call];
    calls.abort(alice);
    calls.abort('@nobody:hs.test');
    expect(ofAlice.signal.reason).toMatchObject({ code: 'ABORTED', userId: alice });
    expect(ofBob.signal.aborted).toBe(false);
  });

  it('are waited for, those of one user', async () => {
    const { clock, calls, ends, source, begin } = setUp();
    begin(source());
    begin(source(), bob);
    await calls.whenEnded('@nobody:hs.test');
    let ended = false;
    void calls.whenEnded(alice).then(() => (ended = true));
    await clock.advance(0);
    expect(ended).toBe(false);
    ends[0]?.resolve();
    await clock.advance(0);
    expect(ended).toBe(true);
  });

  it('end with MANAGER_CLOSED at the close', async () => {
    const { clock, calls, source, begin } = setUp();
    const overdue = begin(source());
    await clock.advance(1_000);
    const { call, run } = begin(source());
    calls.close();
    expect(await run).toMatchObject({ code: 'MANAGER_CLOSED' });
    expect(call.signal.aborted).toBe(true);
    await overdue.run;
    expect(clock.pendingTimers).toBe(0);
  });

  it('give the callback a copy of the event', async () => {
    const { calls, source } = setUp();
    const event = messageEvent();
    const change = (own: { content?: unknown }): void => void Object.assign(own.content as object, { body: 'changed' });
    await calls.run(calls.prepare(source(), event), change as never, event, 1);
    expect(event.content.body).toBe('hello');
  });
});
