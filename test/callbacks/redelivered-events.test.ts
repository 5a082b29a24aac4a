import { describe, expect, it } from 'vitest';
import { CallbackRegistry } from '../../src/callbacks/callback-registry.js';
import { OnceLog } from '../../src/callbacks/once-log.js';
import { memoryStorage } from '../../src/storage/memory-storage.js';
import type { ClientEvent, TypingEvent } from '../../src/core/client-event.js';
import { ManualClock } from '../../src/testing/index.js';
import { testContext } from '../support/context.js';
import { messageEvent } from './message-event.js';

const alice = '@alice:hs.test';

function setUp({ attempts = 1 } = {}) {
  const clock = new ManualClock();
  const deadLetters: string[] = [];
  let storingFails = 0;
  const registry = new CallbackRegistry(testContext({ clock }), {
    onceLog: new OnceLog(testContext({ clock }), memoryStorage()),
    attempts,
    retryDelayMs: 1_000,
    timeoutMs: 60_000,
    onError: () => {},
    onDeadLetter: async (event) => {
      if (storingFails-- > 0) throw new Error('disk full');
      deadLetters.push('eventId' in event ? event.eventId : '');
    },
  });
  const stop = new AbortController();
  const dispatch = (event: ClientEvent, record?: () => Promise<void>): Promise<boolean> =>
    registry.dispatch(event, stop.signal, record);
  const redeliver = (event: ClientEvent): Promise<boolean> => registry.redeliver(event, stop.signal);
  /** A callback that fails as long as `fails` is set. */
  const add = (name: string, calls: string[], state = { fails: false }) => {
    const callback = async (): Promise<void> => {
      calls.push(name);
      if (state.fails) throw new Error(`no ${name}`);
    };
    registry.add(alice, callback);
    return { state, callback };
  };
  const failStoring = (times: number): void => void (storingFails = times);
  return { clock, registry, deadLetters, stop, dispatch, redeliver, add, failStoring };
}

describe('an event that is given again', () => {
  it('reaches the callbacks that failed on it, until they take it', async () => {
    const { dispatch, redeliver, add } = setUp();
    const calls: string[] = [];
    const event = messageEvent();
    const failing = add('failing', calls, { fails: true });
    add('fine', calls);
    expect(await dispatch(event)).toBe(true);
    expect(calls.splice(0)).toEqual(['failing', 'fine']);
    expect(await redeliver(event)).toBe(false);
    expect(calls.splice(0)).toEqual(['failing']);
    failing.state.fails = false;
    expect(await redeliver(event)).toBe(true);
    expect(calls.splice(0)).toEqual(['failing']);
    expect(await redeliver(event)).toBe(true); // none is known to have failed: as in another process
    expect(calls).toEqual(['failing', 'fine']);
  });

  it('is not taken while one of several fails', async () => {
    const { redeliver, add } = setUp();
    const calls: string[] = [];
    add('fine', calls);
    add('failing', calls, { fails: true });
    expect(await redeliver(messageEvent())).toBe(false);
  });

  it('is taken where one takes it and others do not want it, and not where none wants it', async () => {
    const { registry, redeliver, add } = setUp();
    registry.add(alice, () => {}, { types: ['reaction'] });
    expect(await redeliver(messageEvent())).toBe(false);
    add('fine', []);
    expect(await redeliver(messageEvent())).toBe(true);
  });

  it('reaches nobody again who has had it, by an ordinary dispatch', async () => {
    const { dispatch, add } = setUp();
    const calls: string[] = [];
    add('fine', calls);
    const event = messageEvent();
    await dispatch(event);
    expect(await dispatch(event)).toBe(true);
    expect(calls).toEqual(['fine']);
  });

  it('comes each time where it has no id', async () => {
    const { dispatch, add } = setUp();
    const calls: string[] = [];
    add('fine', calls);
    const room = { userId: alice, roomId: '!room:hs.test', provenance: 'live' as const };
    const typing: TypingEvent = { type: 'typing', ...room, userIds: [] };
    await dispatch(typing);
    await dispatch(typing);
    expect(calls).toEqual(['fine', 'fine']);
  });
});

describe('a dead letter that cannot be stored', () => {
  it('is tried again with longer pauses, and the event counts as handled when it is', async () => {
    const { clock, deadLetters, dispatch, add, failStoring } = setUp();
    add('failing', [], { fails: true });
    failStoring(2);
    const event = messageEvent();
    let handled: boolean | undefined;
    void dispatch(event).then((value) => (handled = value));
    await clock.advance(2_999);
    expect([deadLetters, handled]).toEqual([[], undefined]);
    await clock.advance(1);
    expect([deadLetters, handled]).toEqual([[event.eventId], true]);
  });

  it('leaves the event unhandled when the client is stopped meanwhile', async () => {
    const { clock, deadLetters, stop, dispatch, add, failStoring } = setUp();
    add('failing', [], { fails: true });
    failStoring(Infinity);
    const handled = dispatch(messageEvent());
    await clock.advance(10_000);
    stop.abort();
    expect(await handled).toBe(false);
    expect(deadLetters).toEqual([]);
    expect(clock.pendingTimers).toBe(0);
  });
});

describe('an event that a callback gives again itself', () => {
  it.each(['one user', 'all users', 'all users, once'])('reaches it in the same room at once (%s)', async (whom) => {
    const { clock, registry, dispatch, redeliver } = setUp();
    const calls: string[] = [];
    let fails = true;
    const letter = messageEvent({ eventId: '$letter' });
    const callback = async (event: ClientEvent): Promise<void> => {
      const isLetter = 'eventId' in event && event.eventId === '$letter';
      calls.push(isLetter ? 'letter' : 'begin');
      if (isLetter && fails) throw new Error('no');
      if (!isLetter) calls.push((await redeliver(letter)) ? 'taken' : 'not taken');
    };
    if (whom === 'one user') registry.add(alice, callback);
    else registry.addForUsers(callback, { once: whom === 'all users, once' });
    await dispatch(letter);
    fails = false;
    const handled = dispatch(messageEvent({ eventId: '$retry' }));
    for (let turn = 0; turn < 5; turn++) await clock.advance(0);
    expect(calls).toEqual(['letter', 'begin', 'letter', 'taken']);
    expect(await handled).toBe(true);
  });

  it('waits its turn once the call has ended', async () => {
    const { clock, registry, dispatch, redeliver } = setUp();
    const calls: string[] = [];
    const later = Promise.withResolvers<void>();
    const held = Promise.withResolvers<void>();
    let retried: Promise<boolean> | undefined;
    registry.add(alice, async (event) => {
      const id = 'eventId' in event ? event.eventId : '';
      calls.push(id);
      if (id === '$first') retried = later.promise.then(() => redeliver(messageEvent({ eventId: '$letter' })));
      if (id === '$held') await held.promise;
    });
    await dispatch(messageEvent({ eventId: '$first' }));
    const handled = dispatch(messageEvent({ eventId: '$held' }));
    await clock.advance(0);
    later.resolve();
    await clock.advance(0);
    expect(calls).toEqual(['$first', '$held']);
    held.resolve();
    expect([await handled, await retried, calls]).toEqual([true, true, ['$first', '$held', '$letter']]);
  });
});

describe('recording an event', () => {
  it('comes once, after the last callback, and before the room goes on', async () => {
    const { registry, clock, dispatch, add } = setUp();
    const steps: string[] = [];
    const slow = Promise.withResolvers<void>();
    registry.add(alice, () => slow.promise);
    add('quick', steps);
    const recorded = Promise.withResolvers<void>();
    const record = async (): Promise<void> => {
      steps.push('record');
      await recorded.promise;
    };
    void dispatch(messageEvent(), record).then(() => steps.push('handled'));
    await clock.advance(0);
    expect(steps).toEqual(['quick']);
    slow.resolve();
    await clock.advance(0);
    expect(steps).toEqual(['quick', 'record']);
    recorded.resolve();
    await clock.advance(0);
    expect(steps).toEqual(['quick', 'record', 'handled']);
  });
});

describe('a user who is forgotten', () => {
  it('has no callbacks any more, what is queued for them included', async () => {
    const { clock, registry, dispatch } = setUp();
    const got: unknown[] = [];
    const first = Promise.withResolvers<void>();
    registry.add(alice, (event) => {
      got.push('content' in event && event.content.body);
      return first.promise;
    });
    void dispatch(messageEvent({ body: 'one' }));
    await clock.advance(0);
    void dispatch(messageEvent({ body: 'two' }));
    registry.forget(alice);
    first.resolve();
    await clock.advance(0);
    expect(got).toEqual(['one']);
    expect([registry.size, registry.hasOwn(alice)]).toEqual([0, false]);
  });
});

describe('the backlog', () => {
  it('is wanted as soon as one registration of a callback asks for it', () => {
    const { registry } = setUp();
    const callback = (): void => {};
    expect(registry.wantsBacklog(alice)).toBe(false);
    registry.add(alice, callback);
    registry.add(alice, callback, { backlog: true });
    expect(registry.wantsBacklog(alice)).toBe(true);
  });
});
