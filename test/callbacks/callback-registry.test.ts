import { describe, expect, it } from 'vitest';
import { CallbackRegistry } from '../../src/callbacks/callback-registry.js';
import { OnceLog } from '../../src/callbacks/once-log.js';
import { memoryStorage } from '../../src/storage/memory-storage.js';
import type { CallbackContext } from '../../src/callbacks/callback.js';
import type { ClientEvent } from '../../src/core/client-event.js';
import { ManualClock } from '../../src/testing/manual-clock.js';
import { testContext } from '../support/context.js';
import { messageEvent } from './message-event.js';

const alice = '@alice:hs.test';
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function setUp({ attempts = 3, retryDelayMs = 1_000, timeoutMs = 300_000 } = {}) {
  const clock = new ManualClock();
  const errors: { body: unknown; error: unknown; attempt: number }[] = [];
  const deadLetters: { body: unknown; error: unknown; attempts: number }[] = [];
  const told: string[] = [];
  let storing = Promise.resolve();
  const registry = new CallbackRegistry(testContext({ clock }), {
    onceLog: new OnceLog(testContext({ clock }), memoryStorage()),
    attempts,
    retryDelayMs,
    timeoutMs,
    onError: (event, error, attempt) => errors.push({ body: bodyOf(event), error, attempt }),
    onDeadLetter: async (event, error, attempts) => {
      deadLetters.push({ body: bodyOf(event), error, attempts });
      await storing;
    },
    onAdded: (userId) => told.push(`added ${userId}`),
    onLastRemoved: (userId) => told.push(`emptied ${userId}`),
  });
  const stop = new AbortController();
  /** Hands messages to the callbacks; resolves with whether each was handled. */
  const send = (...messages: (string | Parameters<typeof messageEvent>[0])[]): Promise<boolean[]> =>
    Promise.all(
      messages.map((message) => {
        const event = messageEvent(typeof message === 'string' ? { body: message } : message);
        return registry.dispatch(event, stop.signal);
      }),
    );
  /** Makes the storing of dead letters wait. */
  const holdStoring = (): (() => void) => {
    const gate = Promise.withResolvers<void>();
    storing = gate.promise;
    return gate.resolve;
  };
  /** Makes the storing of dead letters fail, or succeed again. */
  const failStoring = (fails: boolean): void => {
    storing = fails ? Promise.reject(new Error('the disk is full')) : Promise.resolve();
    storing.catch(() => {});
  };
  return { clock, registry, errors, deadLetters, told, stop, send, holdStoring, failStoring };
}

function bodyOf(event: ClientEvent): unknown {
  return 'content' in event ? event.content.body : undefined;
}

/** A callback that keeps the texts it gets, and may be made to wait or fail at some of them. */
function recorder({ fail = {} }: { fail?: Record<string, number> } = {}) {
  const got: string[] = [];
  const gates = new Map<string, PromiseWithResolvers<void>>();
  const state = { running: 0, mostAtOnce: 0 };
  const failures = { ...fail };
  const callback = async (event: ClientEvent): Promise<void> => {
    const body = String(bodyOf(event));
    state.mostAtOnce = Math.max(state.mostAtOnce, ++state.running);
    got.push(body);
    try {
      await gates.get(body)?.promise;
      const left = failures[body] ?? 0;
      if (left > 0) {
        failures[body] = left - 1;
        throw new Error(`no ${body}`);
      }
    } finally {
      state.running--;
    }
  };
  const hold = (body: string): (() => void) => {
    const gate = Promise.withResolvers<void>();
    gates.set(body, gate);
    return gate.resolve;
  };
  return { got, callback, hold, state };
}

describe('several callbacks', () => {
  it('each get every event, in order', async () => {
    const { registry, send } = setUp();
    const [one, two] = [recorder(), recorder()];
    registry.add(alice, one.callback);
    registry.add(alice, two.callback);
    expect(await send('a', 'b', 'c')).toEqual([true, true, true]);
    expect([one.got, two.got]).toEqual([
      ['a', 'b', 'c'],
      ['a', 'b', 'c'],
    ]);
  });

  it('get what their filters let through', async () => {
    const { registry, send } = setUp();
    const [here, polls, all] = [recorder(), recorder(), recorder()];
    registry.add(alice, here.callback, { rooms: ['!here:x'] });
    registry.add(alice, polls.callback, { types: ['m.poll.start'] });
    registry.add(alice, all.callback);
    await send({ body: 'a', roomId: '!here:x' }, { body: 'b', roomId: '!there:x', eventType: 'm.poll.start' });
    expect([here.got, polls.got, all.got]).toEqual([['a'], ['b'], ['a', 'b']]);
  });

  it('of other users get nothing', async () => {
    const { registry, send } = setUp();
    const bob = recorder();
    registry.add('@bob:hs.test', bob.callback);
    expect(await send('a')).toEqual([true]);
    expect(bob.got).toEqual([]);
  });

  it('do not wait for each other', async () => {
    const { registry, send } = setUp();
    const [slow, quick] = [recorder(), recorder()];
    const release = slow.hold('a');
    registry.add(alice, slow.callback);
    registry.add(alice, quick.callback);
    const sent = send('a', 'b', 'c');
    await turn();
    expect([slow.got, quick.got]).toEqual([['a'], ['a', 'b', 'c']]);
    release();
    await sent;
    expect(slow.got).toEqual(['a', 'b', 'c']);
  });
});

describe('an event', () => {
  it('is recorded once, after the last callback, and the room of that one goes on when it is recorded', async () => {
    const { registry, stop } = setUp();
    const [quick, slow] = [recorder(), recorder()];
    const release = slow.hold('a');
    registry.add(alice, quick.callback);
    registry.add(alice, slow.callback);
    const recording = Promise.withResolvers<void>();
    let records = 0;
    const record = async (): Promise<void> => {
      records++;
      await recording.promise;
    };
    const first = registry.dispatch(messageEvent({ body: 'a' }), stop.signal, record);
    const second = registry.dispatch(messageEvent({ body: 'b' }), stop.signal);
    await turn();
    expect([quick.got, records]).toEqual([['a', 'b'], 0]);
    release();
    await turn();
    expect([slow.got, records]).toEqual([['a'], 1]);
    recording.resolve();
    expect(await Promise.all([first, second])).toEqual([true, true]);
    expect([slow.got, records]).toEqual([['a', 'b'], 1]);
  });

  it('that no callback wants is done with at once, though the callbacks are busy in its room', async () => {
    const { registry, send, stop } = setUp();
    const { callback, hold } = recorder();
    const release = hold('a');
    registry.add(alice, callback, { types: ['m.room.message'] });
    const sent = send('a');
    await turn();
    expect(await send({ body: 'b', eventType: 'm.poll.start' })).toEqual([true]);
    stop.abort();
    expect(await send({ body: 'c', eventType: 'm.poll.start' })).toEqual([true]);
    release();
    await sent;
  });
});

describe('a callback that changes the event', () => {
  it('changes it for nobody else, nor for its own next attempt', async () => {
    const { registry, clock, stop, deadLetters } = setUp({ attempts: 2 });
    const seen: unknown[] = [];
    const look = (event: ClientEvent): void => void seen.push(structuredClone(event));
    registry.add(alice, (event) => {
      look(event);
      const changed = event as unknown as { roomId: string; content: { body: string; deep: { list: number[] } } };
      changed.roomId = '!gone:x';
      changed.content.body = 'changed';
      changed.content.deep.list.push(2);
      throw new Error('no');
    });
    registry.add(alice, look);
    const content = JSON.parse('{"body":"a","deep":{"list":[1]},"__proto__":{"x":1}}') as Record<string, unknown>;
    const event = messageEvent({ content });
    const before = structuredClone(event);
    const dispatched = registry.dispatch(event, stop.signal);
    await clock.advance(1_000);
    await dispatched;
    expect(event).toEqual(before);
    expect(seen).toEqual([before, before, before]);
    expect(deadLetters).toMatchObject([{ body: 'a' }]);
  });
});

describe('one callback', () => {
  it('is awaited before the next event of the same room, and not before one of another', async () => {
    const { registry, send } = setUp();
    const { got, callback, hold, state } = recorder();
    const release = hold('a1');
    registry.add(alice, callback);
    const sent = send(
      { body: 'a1', roomId: '!a:x' },
      { body: 'a2', roomId: '!a:x' },
      { body: 'b1', roomId: '!b:x' },
      { body: 'b2', roomId: '!b:x' },
    );
    await turn();
    expect(got).toEqual(['a1', 'b1', 'b2']);
    release();
    await sent;
    expect(got).toEqual(['a1', 'b1', 'b2', 'a2']);
    expect(state.mostAtOnce).toBe(2);
  });

  it('added twice gets an event once', async () => {
    const { registry, send } = setUp();
    const { got, callback } = recorder();
    registry.add(alice, callback);
    registry.add(alice, callback);
    await send('a');
    expect(got).toEqual(['a']);
  });

  it('added with several filters gets once what any of them lets through', async () => {
    const { registry, send } = setUp();
    const { got, callback } = recorder();
    const off = registry.add(alice, callback, { rooms: ['!a:x'] });
    registry.add(alice, callback, { rooms: ['!a:x', '!b:x'] });
    await send({ body: 'a', roomId: '!a:x' }, { body: 'b', roomId: '!b:x' }, { body: 'c', roomId: '!c:x' });
    expect(got).toEqual(['a', 'b']);
    off();
    await send({ body: 'a2', roomId: '!a:x' });
    expect(got).toEqual(['a', 'b', 'a2']);
  });

  it('never gets an event twice, however often it comes', async () => {
    const { registry, send } = setUp();
    const { got, callback } = recorder();
    registry.add(alice, callback);
    const again = { body: 'a', eventId: '$same' };
    await send(again, again);
    await send(again);
    expect(got).toEqual(['a']);
  });

  it('gets an event of the same id for two users once for each', async () => {
    const { registry, send } = setUp();
    const { got, callback } = recorder();
    registry.add(alice, callback);
    registry.add('@bob:hs.test', callback);
    await send({ body: 'a', eventId: '$same' }, { body: 'b', eventId: '$same', userId: '@bob:hs.test' });
    expect(got.toSorted()).toEqual(['a', 'b']);
  });

  it('gets every receipt, though they carry the id of the same event', async () => {
    const { registry, stop } = setUp();
    const got: ClientEvent[] = [];
    registry.add(alice, (event) => void got.push(event));
    const receipt: ClientEvent = {
      type: 'receipt',
      userId: alice,
      roomId: '!r:x',
      provenance: 'live',
      eventId: '$same',
      sender: '@bob:x',
      receiptType: 'm.read',
      timestamp: 0,
    };
    await registry.dispatch(receipt, stop.signal);
    await registry.dispatch({ ...receipt, sender: '@carol:x' }, stop.signal);
    expect(got).toHaveLength(2);
  });
});

describe('a callback that is added', () => {
  it('while another runs gets what comes afterwards, not what is being handled', async () => {
    const { registry, send } = setUp();
    const late = recorder();
    registry.add(alice, () => void registry.add(alice, late.callback));
    await send('a');
    expect(late.got).toEqual([]);
    await send('b');
    expect(late.got).toEqual(['b']);
  });

  it('in every call of another, anew each time, does no harm', async () => {
    const { registry, send } = setUp();
    let added = 0;
    registry.add(alice, () => {
      if (++added < 50) registry.add(alice, () => void registry.add(alice, () => {}));
    });
    await send('a', 'b', 'c');
    expect(added).toBe(3);
  });
});

describe('a callback that is removed', () => {
  it('gets nothing any more, not even what waits for it', async () => {
    const { registry, send } = setUp();
    const { got, callback, hold } = recorder();
    const release = hold('a');
    registry.add(alice, callback);
    const sent = send('a', 'b');
    await turn();
    expect(registry.remove(alice, callback)).toBe(true);
    release();
    expect(await sent).toEqual([true, true]);
    await send('c');
    expect(got).toEqual(['a']);
    expect(registry.remove(alice, callback)).toBe(false);
    expect([registry.has(alice, callback), registry.hasOwn(alice)]).toEqual([false, false]);
  });

  it('from within itself finishes what it is at', async () => {
    const { registry, send } = setUp();
    const got: unknown[] = [];
    const once = async (event: ClientEvent): Promise<void> => {
      registry.remove(alice, once);
      await turn();
      got.push(bodyOf(event));
    };
    registry.add(alice, once);
    expect(await send('a', 'b')).toEqual([true, true]);
    expect(got).toEqual(['a']);
  });

  it('by the disposer from within itself, or by another before its turn, gets nothing any more', async () => {
    const { registry, send } = setUp();
    const [self, victim] = [[] as unknown[], recorder()];
    const off = registry.add(alice, (event) => {
      self.push(bodyOf(event));
      off();
      registry.remove(alice, victim.callback);
    });
    registry.add(alice, victim.callback);
    await send('a', 'b');
    expect([self, victim.got]).toEqual([['a'], []]);
  });

  it('by a disposer called twice leaves other registrations alone', async () => {
    const { registry, send } = setUp();
    const { got, callback } = recorder();
    const off = registry.add(alice, callback);
    registry.add(alice, callback, { types: ['message'] });
    off();
    off();
    await send('a');
    expect(got).toEqual(['a']);
  });

  it('while it waits for its next attempt is not tried again, and holds nothing up', async () => {
    const { registry, send, clock, errors } = setUp();
    const { got, callback } = recorder({ fail: { a: 9 } });
    registry.add(alice, callback);
    const sent = send('a');
    await clock.advance(500);
    registry.remove(alice, callback);
    await clock.advance(500);
    expect(await sent).toEqual([true]);
    expect([got, errors.length]).toEqual([['a'], 1]);
  });

  it('and added again keeps its place in line: it is not called while it runs', async () => {
    const { registry, send } = setUp();
    const { got, callback, hold, state } = recorder();
    const release = hold('a');
    registry.add(alice, callback);
    const first = send('a');
    await turn();
    registry.remove(alice, callback);
    registry.add(alice, callback, { types: ['message'] });
    const second = send('b');
    await turn();
    expect(got).toEqual(['a']);
    release();
    await Promise.all([first, second]);
    expect([got, state.mostAtOnce]).toEqual([['a', 'b'], 1]);
  });

  it('and added again gets no event that it has had', async () => {
    const { registry, send } = setUp();
    const { got, callback } = recorder();
    registry.add(alice, callback);
    await send({ body: 'a', eventId: '$a' });
    registry.remove(alice, callback);
    registry.add(alice, callback);
    await send({ body: 'a', eventId: '$a' }, 'b');
    expect(got).toEqual(['a', 'b']);
  });
});

describe('the registrations of a user', () => {
  it('are told of: each one that is added, and the last one that is removed', () => {
    const { registry, told } = setUp();
    const [one, two] = [recorder(), recorder()];
    registry.add(alice, one.callback);
    registry.add(alice, two.callback);
    registry.remove(alice, one.callback);
    expect(told).toEqual([`added ${alice}`, `added ${alice}`]);
    registry.remove(alice, two.callback);
    registry.remove(alice, two.callback);
    expect(told.slice(2)).toEqual([`emptied ${alice}`]);
  });

  it('ask for the backlog where one of them does', () => {
    const { registry } = setUp();
    const { callback } = recorder();
    expect(registry.wantsBacklog(alice)).toBe(false);
    registry.add(alice, callback);
    expect(registry.wantsBacklog(alice)).toBe(false);
    const off = registry.add(alice, callback, { backlog: true });
    registry.add(alice, recorder().callback);
    expect(registry.wantsBacklog(alice)).toBe(true);
    off();
    expect(registry.wantsBacklog(alice)).toBe(false);
  });

  it('of somebody unknown are none, and none can be removed', () => {
    const { registry } = setUp();
    const { callback } = recorder();
    expect(registry.remove('@nobody:hs.test', callback)).toBe(false);
    expect([registry.hasOwn('@nobody:hs.test'), registry.has('@nobody:hs.test', callback)]).toEqual([false, false]);
  });
});

describe('a user that is forgotten', () => {
  it('has no callbacks any more; what waits for them goes to nobody', async () => {
    const { registry, send } = setUp();
    const { got, callback, hold } = recorder();
    const release = hold('a');
    registry.add(alice, callback);
    const sent = send('a', 'b');
    await turn();
    registry.forget(alice);
    release();
    expect(await sent).toEqual([true, true]);
    expect([got, registry.hasOwn(alice), registry.size]).toEqual([['a'], false, 0]);
  });

  it('and comes back gets the events again that its callbacks had', async () => {
    const { registry, send } = setUp();
    const { got, callback } = recorder();
    registry.add(alice, callback);
    await send({ body: 'a', eventId: '$a' });
    registry.forget(alice);
    registry.add(alice, callback);
    await send({ body: 'a', eventId: '$a' });
    expect(got).toEqual(['a', 'a']);
  });

  it('does not count as having overdue calls', async () => {
    const { registry, send, clock } = setUp({ attempts: 1, timeoutMs: 5_000 });
    registry.add(alice, hangs().callback);
    const sent = send('a');
    await clock.advance(5_000);
    await sent;
    expect(registry.overdue).toBe(1);
    registry.forget(alice);
    expect(registry.overdue).toBe(0);
  });
});

describe('a callback that fails', () => {
  it.each([
    [
      'throws',
      () => {
        throw new Error('no');
      },
    ],
    ['rejects', () => Promise.reject(new Error('no'))],
  ])('and %s harms no other, and is reported', async (_title, failing) => {
    const { registry, send, clock, errors } = setUp({ attempts: 1 });
    const { got, callback } = recorder();
    registry.add(alice, failing);
    registry.add(alice, callback);
    expect(await send('a', 'b')).toEqual([true, true]);
    expect(got).toEqual(['a', 'b']);
    expect(errors).toMatchObject([
      { body: 'a', error: { message: 'no' }, attempt: 1 },
      { body: 'b', error: { message: 'no' }, attempt: 1 },
    ]);
    expect(clock.pendingTimers).toBe(0);
  });

  it.each([undefined, null, 'text', 0])('with %j instead of an error is treated alike', async (thrown) => {
    const { registry, send, deadLetters } = setUp({ attempts: 1 });
    registry.add(alice, () => Promise.reject(thrown));
    expect(await send('a')).toEqual([true]);
    expect(deadLetters).toEqual([{ body: 'a', error: thrown, attempts: 1 }]);
  });

  it('gets the event again after pauses that double, and holds its room back meanwhile', async () => {
    const { registry, send, clock, errors, deadLetters } = setUp({ attempts: 4 });
    const { got, callback } = recorder({ fail: { a: 3 } });
    registry.add(alice, callback);
    const sent = send({ body: 'a', roomId: '!a:x' }, { body: 'b', roomId: '!a:x' }, { body: 'c', roomId: '!c:x' });
    await clock.advance(0);
    expect(got).toEqual(['a', 'c']);
    for (const [pauseMs, count] of [
      [1_000, 2],
      [2_000, 3],
      [4_000, 4],
    ] as const) {
      await clock.advance(pauseMs - 1);
      expect(got.filter((body) => body === 'a')).toHaveLength(count - 1);
      await clock.advance(1);
      expect(got.filter((body) => body === 'a')).toHaveLength(count);
    }
    expect(await sent).toEqual([true, true, true]);
    expect(got).toEqual(['a', 'c', 'a', 'a', 'a', 'b']);
    expect(errors.map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
    expect(deadLetters).toEqual([]);
    expect(clock.pendingTimers).toBe(0);
  });

  it('as often as it may loses the event to the dead letters, and the room goes on when that is stored', async () => {
    const { registry, send, clock, deadLetters, holdStoring } = setUp();
    const store = holdStoring();
    const { got, callback } = recorder({ fail: { a: 99 } });
    registry.add(alice, callback);
    const sent = send('a', 'b');
    await clock.advance(3_000);
    expect(got).toEqual(['a', 'a', 'a']);
    expect(deadLetters).toMatchObject([{ body: 'a', error: { message: 'no a' }, attempts: 3 }]);
    store();
    expect(await sent).toEqual([true, true]);
    expect(got).toEqual(['a', 'a', 'a', 'b']);
    await send({ body: 'c' });
    expect(deadLetters).toHaveLength(1);
  });

  it('does not get a dead letter again when the event comes again', async () => {
    const { registry, send } = setUp({ attempts: 1 });
    const { got, callback } = recorder({ fail: { a: 1 } });
    registry.add(alice, callback);
    await send({ body: 'a', eventId: '$a' });
    await send({ body: 'a', eventId: '$a' });
    expect(got).toEqual(['a']);
  });

  it('is tried to be made a dead letter until it is stored, after pauses that grow', async () => {
    const { registry, send, clock, deadLetters, failStoring } = setUp({ attempts: 1 });
    failStoring(true);
    const { got, callback } = recorder({ fail: { a: 1 } });
    registry.add(alice, callback);
    const sent = send('a', 'b');
    for (const [pauseMs, count] of [
      [0, 1],
      [1_000, 2],
      [1_999, 2],
      [1, 3],
    ] as const) {
      await clock.advance(pauseMs);
      expect(deadLetters).toHaveLength(count);
    }
    expect(got).toEqual(['a']);
    failStoring(false);
    await clock.advance(4_000);
    expect(await sent).toEqual([true, true]);
    expect([deadLetters.length, got, clock.pendingTimers]).toEqual([4, ['a', 'b'], 0]);
  });

  it('has to come again where a stop ends the storing of its dead letter', async () => {
    const { registry, send, clock, stop, deadLetters, failStoring } = setUp({ attempts: 1 });
    failStoring(true);
    const { callback } = recorder({ fail: { a: 1 } });
    registry.add(alice, callback);
    const sent = send('a');
    await clock.advance(0);
    stop.abort();
    expect(await sent).toEqual([false]);
    expect([deadLetters.length, clock.pendingTimers]).toEqual([1, 0]);
  });

  it('does not make a callback that did not fail get the event again', async () => {
    const { registry, send, clock } = setUp();
    const [failing, fine] = [recorder({ fail: { a: 2 } }), recorder()];
    registry.add(alice, failing.callback);
    registry.add(alice, fine.callback);
    const sent = send('a');
    await clock.advance(3_000);
    await sent;
    expect([failing.got, fine.got]).toEqual([['a', 'a', 'a'], ['a']]);
  });
});

describe('a dead letter that is tried again', () => {
  it('goes to the callback that failed on it, and to no other', async () => {
    const { registry, stop } = setUp({ attempts: 1 });
    const [failing, fine] = [recorder({ fail: { a: 1 } }), recorder()];
    registry.add(alice, failing.callback);
    registry.add(alice, fine.callback);
    const event = messageEvent({ body: 'a' });
    await registry.dispatch(event, stop.signal);
    expect(await registry.redeliver(event, stop.signal)).toBe(true);
    expect([failing.got, fine.got]).toEqual([['a', 'a'], ['a']]);
  });

  it('goes to all again when it has been taken', async () => {
    const { registry, stop } = setUp({ attempts: 1 });
    const [failing, fine] = [recorder({ fail: { a: 1 } }), recorder()];
    registry.add(alice, failing.callback);
    registry.add(alice, fine.callback);
    const event = messageEvent({ body: 'a' });
    await registry.dispatch(event, stop.signal);
    await registry.redeliver(event, stop.signal);
    expect(await registry.redeliver(event, stop.signal)).toBe(true);
    expect([failing.got, fine.got]).toEqual([
      ['a', 'a', 'a'],
      ['a', 'a'],
    ]);
  });

  it('is taken where one callback takes it and another does not want it', async () => {
    const { registry, stop } = setUp();
    const [wanting, other] = [recorder(), recorder()];
    registry.add(alice, wanting.callback);
    registry.add(alice, other.callback, { rooms: ['!elsewhere:x'] });
    expect(await registry.redeliver(messageEvent({ body: 'a' }), stop.signal)).toBe(true);
    expect([wanting.got, other.got]).toEqual([['a'], []]);
  });

  it('stays one where one callback takes it and another fails', async () => {
    const { registry, stop } = setUp({ attempts: 1 });
    const [fine, failing] = [recorder(), recorder({ fail: { a: 1 } })];
    registry.add(alice, fine.callback);
    registry.add(alice, failing.callback);
    expect(await registry.redeliver(messageEvent({ body: 'a' }), stop.signal)).toBe(false);
  });

  it('stays one when the callback fails again', async () => {
    const { registry, stop, deadLetters } = setUp({ attempts: 1 });
    const { callback } = recorder({ fail: { a: 2 } });
    registry.add(alice, callback);
    const event = messageEvent({ body: 'a' });
    await registry.dispatch(event, stop.signal);
    expect(await registry.redeliver(event, stop.signal)).toBe(false);
    expect(deadLetters).toHaveLength(2);
    expect(await registry.redeliver(event, stop.signal)).toBe(true);
  });

  it('goes to all that want it when nobody is known to have failed, and to nobody when nobody wants it', async () => {
    const { registry, stop } = setUp();
    const { got, callback } = recorder();
    const event = messageEvent({ body: 'a' });
    expect(await registry.redeliver(event, stop.signal)).toBe(false);
    registry.add(alice, callback, { rooms: ['!elsewhere:x'] });
    expect(await registry.redeliver(event, stop.signal)).toBe(false);
    registry.add(alice, callback);
    expect(await registry.redeliver(event, stop.signal)).toBe(true);
    expect(got).toEqual(['a']);
  });
});

describe('a stop', () => {
  it('says of what has not been handled that it has to come again, and of what runs what became of it', async () => {
    const { registry, send, stop } = setUp();
    const { got, callback, hold } = recorder();
    const release = hold('a');
    registry.add(alice, callback);
    const sent = send('a', 'b');
    await turn();
    stop.abort();
    release();
    expect(await sent).toEqual([true, false]);
    expect(got).toEqual(['a']);
    expect(await send('c')).toEqual([false]);
  });

  it('ends the wait for the next attempt, leaving no timer: the event has to come again', async () => {
    const { registry, send, stop, clock } = setUp();
    const { callback } = recorder({ fail: { a: 1 } });
    registry.add(alice, callback);
    const sent = send('a');
    await clock.advance(0);
    stop.abort();
    expect(await sent).toEqual([false]);
    expect(clock.pendingTimers).toBe(0);
  });

  it('does not make a callback get again what it has had, when another had not: however much that was', async () => {
    const { registry, stop } = setUp();
    const [slow, quick] = [recorder(), recorder()];
    const release = slow.hold('0');
    registry.add(alice, slow.callback);
    registry.add(alice, quick.callback);
    const events = Array.from({ length: 5_000 }, (_, n) => messageEvent({ body: String(n) }));
    const first = Promise.all(events.map((event) => registry.dispatch(event, stop.signal)));
    while (quick.got.length < events.length) await turn();
    stop.abort();
    release();
    expect((await first).filter(Boolean)).toHaveLength(1);
    const next = new AbortController();
    expect((await Promise.all(events.map((event) => registry.dispatch(event, next.signal)))).every(Boolean)).toBe(true);
    const all = events.map((event) => event.content.body);
    expect([slow.got, quick.got]).toEqual([all, all]);
  });

  it('leaves an event to a callback that was removed before its turn and is added again', async () => {
    const { registry, stop } = setUp();
    const [removed, failing] = [recorder(), recorder({ fail: { b: 1 } })];
    const release = removed.hold('a');
    registry.add(alice, removed.callback);
    registry.add(alice, failing.callback);
    const event = messageEvent({ body: 'b' });
    const sent = [registry.dispatch(messageEvent({ body: 'a' }), stop.signal), registry.dispatch(event, stop.signal)];
    await turn();
    registry.remove(alice, removed.callback);
    release();
    await turn();
    stop.abort();
    expect(await Promise.all(sent)).toEqual([true, false]);
    registry.add(alice, removed.callback);
    expect(await registry.dispatch(event, new AbortController().signal)).toBe(true);
    expect([removed.got, failing.got]).toEqual([
      ['a', 'b'],
      ['a', 'b', 'b'],
    ]);
  });

  it('leaves the event to callbacks that are added later where the only one was told to end and then removed', async () => {
    const { registry, send, stop, errors } = setUp({ attempts: 1 });
    const callback = async (_event: ClientEvent, { signal }: CallbackContext): Promise<void> => {
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
    };
    registry.add(alice, callback);
    const sent = send('a');
    await turn();
    stop.abort();
    registry.remove(alice, callback);
    await turn();
    expect(errors).toEqual([]);
    registry.abortCalls(alice);
    expect([await sent, errors]).toEqual([[false], []]);
  });

  it('does not give an event again that became a dead letter, when another callback had not begun with it', async () => {
    const { registry, stop, deadLetters } = setUp({ attempts: 1 });
    const [failing, slow] = [recorder({ fail: { b: 1 } }), recorder()];
    const release = slow.hold('a');
    registry.add(alice, failing.callback);
    registry.add(alice, slow.callback);
    const event = messageEvent({ body: 'b' });
    const sent = [registry.dispatch(messageEvent({ body: 'a' }), stop.signal), registry.dispatch(event, stop.signal)];
    await turn();
    stop.abort();
    release();
    expect(await Promise.all(sent)).toEqual([true, false]);
    expect(await registry.dispatch(event, new AbortController().signal)).toBe(true);
    expect([failing.got, slow.got, deadLetters.length]).toEqual([['a', 'b'], ['a', 'b'], 1]);
  });

  it('waits with idle for a callback that runs on when another has ended', async () => {
    const { registry, send } = setUp();
    const { callback, hold } = recorder();
    const release = hold('a');
    registry.add(alice, callback);
    const sent = send('a');
    await send({ body: 'b', roomId: '!b:x' });
    let idle = false;
    const waiting = registry.whenIdle(alice).then(() => (idle = true));
    await turn();
    expect(idle).toBe(false);
    release();
    await Promise.all([waiting, sent]);
  });

  it('waits with idle for the callbacks that run, and for no others', async () => {
    const { registry, send } = setUp();
    const { callback, hold } = recorder();
    const release = hold('a');
    registry.add(alice, callback);
    await registry.whenIdle(alice);
    const sent = send('a');
    await turn();
    await registry.whenIdle('@bob:hs.test');
    let idle = false;
    const waiting = registry.whenIdle(alice).then(() => (idle = true));
    await turn();
    expect(idle).toBe(false);
    release();
    await Promise.all([waiting, sent]);
  });
});

/** A callback that never returns, and the signals that it was given. */
function hangs() {
  const signals: AbortSignal[] = [];
  const callback = (_event: ClientEvent, { signal }: CallbackContext): Promise<void> => {
    signals.push(signal);
    return new Promise(() => {});
  };
  return { signals, callback };
}

describe('a callback that never returns', () => {
  it('has failed after its time: its signal fires, it gets the event again, and then the room goes on', async () => {
    const { registry, send, clock, errors, deadLetters } = setUp({ attempts: 2, timeoutMs: 5_000 });
    const { signals, callback } = hangs();
    registry.add(alice, callback);
    const sent = send('a', 'b');
    await clock.advance(4_999);
    expect([signals.length, signals[0]?.aborted, registry.overdue]).toEqual([1, false, 0]);
    await clock.advance(1);
    expect([signals.length, signals[0]?.aborted, registry.overdue]).toEqual([1, true, 1]);
    expect(errors).toMatchObject([{ body: 'a', error: { code: 'TIMEOUT' }, attempt: 1 }]);
    expect(signals[0]?.reason).toBe(errors[0]?.error);
    await clock.advance(1_000 + 5_000);
    expect(deadLetters).toMatchObject([{ body: 'a', error: { code: 'TIMEOUT' }, attempts: 2 }]);
    await clock.advance(11_000);
    expect(await sent).toEqual([true, true]);
    expect([deadLetters.length, registry.overdue, clock.pendingTimers]).toEqual([2, 4, 0]);
    await registry.whenIdle(alice);
  });

  it('holds up neither other callbacks nor other rooms meanwhile', async () => {
    const { registry, send } = setUp();
    const quick = recorder();
    const seen: unknown[] = [];
    registry.add(alice, (event) => {
      seen.push(bodyOf(event));
      return event.roomId === '!stuck:x' ? new Promise(() => {}) : undefined;
    });
    registry.add(alice, quick.callback);
    void send({ body: 'a', roomId: '!stuck:x' }, { body: 'b', roomId: '!stuck:x' }, { body: 'c', roomId: '!other:x' });
    await turn();
    expect([seen, quick.got.toSorted()]).toEqual([
      ['a', 'c'],
      ['a', 'b', 'c'],
    ]);
  });

  it('and returns late is overdue no more; what it rejects with then harms nobody', async () => {
    const { registry, send, clock } = setUp({ attempts: 1, timeoutMs: 5_000 });
    const gates: PromiseWithResolvers<void>[] = [];
    registry.add(alice, () => {
      const gate = Promise.withResolvers<void>();
      gates.push(gate);
      return gate.promise;
    });
    const sent = send('a', { body: 'b', roomId: '!b:x' });
    await clock.advance(5_000);
    await sent;
    expect(registry.overdue).toBe(2);
    gates[0]?.resolve();
    gates[1]?.reject(new Error('late'));
    await turn();
    expect(registry.overdue).toBe(0);
  });

  it('and is removed counts no more, also when it returns after that', async () => {
    const { registry, send, clock } = setUp({ attempts: 1, timeoutMs: 5_000 });
    const { got, callback, hold } = recorder();
    const release = hold('a');
    registry.add(alice, callback);
    const sent = send('a');
    await clock.advance(5_000);
    await sent;
    registry.remove(alice, callback);
    expect(registry.overdue).toBe(0);
    registry.add(alice, callback);
    release();
    await turn();
    expect([got, registry.overdue]).toEqual([['a'], 0]);
  });

  it('and was removed before its time counts at no moment', async () => {
    const { registry, send, clock } = setUp({ attempts: 1, timeoutMs: 5_000 });
    const { callback } = hangs();
    registry.add(alice, callback);
    const sent = send('a');
    await turn();
    registry.remove(alice, callback);
    await clock.advance(5_000);
    expect([await sent, registry.overdue]).toEqual([[true], 0]);
  });

  it('is waited for without end where that is wanted', async () => {
    const { registry, send, clock, errors } = setUp({ timeoutMs: Infinity });
    registry.add(alice, hangs().callback);
    void send('a');
    await clock.advance(86_400_000);
    expect([errors, clock.pendingTimers]).toEqual([[], 0]);
  });

  it('may be called beside itself when it has had its time', async () => {
    const { registry, send, clock } = setUp({ attempts: 1, timeoutMs: 5_000 });
    const { callback, hold, state } = recorder();
    const release = hold('a');
    registry.add(alice, callback);
    const second = hold('b');
    const sent = send('a', 'b');
    await clock.advance(5_000);
    expect(state.mostAtOnce).toBe(2);
    release();
    second();
    expect(await sent).toEqual([true, true]);
  });

  it.each([
    ['throws when it is asked for its `then`', { get: throwing }],
    ['throws in its `then`', { value: throwing }],
    ['resolves itself twice', { value: (resolve: () => void) => [resolve(), resolve()] }],
  ])('but a thing that %s is dealt with at once', async (_title, then) => {
    const { registry, send } = setUp({ attempts: 1 });
    // oxlint-disable-next-line unicorn/no-thenable -- a callback may return anything
    const thing = Object.defineProperty({}, 'then', then);
    registry.add(alice, () => thing as Promise<void>);
    expect(await send('a')).toEqual([true]);
  });

  it('is told when a stop has waited for it, and what it fails with then is no dead letter', async () => {
    const { registry, send, stop, clock, deadLetters } = setUp({ attempts: 1 });
    registry.add(alice, async (_event, { signal }) => {
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
    });
    const sent = send('a');
    await turn();
    stop.abort();
    registry.abortCalls('@bob:hs.test');
    await turn();
    registry.abortCalls(alice);
    expect(await sent).toEqual([false]);
    expect([deadLetters, clock.pendingTimers]).toEqual([[], 0]);
  });

  it('is told by a stop and by a shutdown which of the two it was', async () => {
    const { registry, send } = setUp({ attempts: 1 });
    const [stopped, closed] = [hangs(), hangs()];
    registry.add(alice, stopped.callback);
    registry.add('@bob:hs.test', closed.callback);
    void send('a', { body: 'b', userId: '@bob:hs.test' });
    await turn();
    registry.abortCalls(alice);
    expect(stopped.signals[0]?.reason).toMatchObject({ code: 'ABORTED', userId: alice });
    registry.clear();
    expect(closed.signals[0]?.reason).toMatchObject({ code: 'MANAGER_CLOSED' });
  });

  it('counts as overdue while one of its calls is', async () => {
    const { registry, send, clock } = setUp({ attempts: 1, timeoutMs: 5_000 });
    const { callback, hold } = recorder();
    const [first, second] = [hold('a'), hold('b')];
    registry.add(alice, callback);
    const sent = send('a', { body: 'b', roomId: '!b:x' });
    await clock.advance(5_000);
    await sent;
    first();
    await turn();
    expect(registry.overdue).toBe(1);
    second();
    await turn();
    expect(registry.overdue).toBe(0);
  });

  it('is overdue no more when everything is cleared', async () => {
    const { registry, send, clock } = setUp({ attempts: 1, timeoutMs: 5_000 });
    registry.add(alice, hangs().callback);
    const sent = send('a');
    await clock.advance(5_000);
    await sent;
    registry.clear();
    expect(registry.overdue).toBe(0);
  });

  it('keeps no timer when everything is cleared', async () => {
    const { registry, send, clock, deadLetters } = setUp({ attempts: 1 });
    const { signals, callback } = hangs();
    registry.add(alice, callback);
    const sent = send('a');
    await turn();
    registry.clear();
    expect([signals[0]?.aborted, clock.pendingTimers]).toEqual([true, 0]);
    expect([await sent, deadLetters]).toEqual([[true], []]);
  });
});

function throwing(): never {
  throw new Error('no');
}

describe('users who have come and gone', () => {
  it('are forgotten, all but the last thousand', async () => {
    const { registry } = setUp();
    const callback = (): void => {};
    const kept = registry.size;
    for (let n = 0; n < 5_000; n++) registry.add(`@user${n}:hs.test`, callback)();
    expect(registry.size - kept).toBe(1_000);
    registry.add('@user4999:hs.test', callback);
    for (let n = 0; n < 5_000; n++) registry.add(`@other${n}:hs.test`, callback)();
    expect(registry.has('@user4999:hs.test', callback)).toBe(true);
  });
});

describe('isInsideCallback', () => {
  it('is so within a callback of the user, across its awaits, and not after it', async () => {
    const { registry, send } = setUp();
    const seen: boolean[] = [];
    let later: Promise<void> | undefined;
    registry.add(alice, async () => {
      seen.push(registry.isInsideCallback(alice), registry.isInsideCallback('@bob:hs.test'));
      await turn();
      seen.push(registry.isInsideCallback(alice));
      later = turn()
        .then(turn)
        .then(() => void seen.push(registry.isInsideCallback(alice)));
    });
    expect(registry.isInsideCallback(alice)).toBe(false);
    await send('a');
    await later;
    expect(seen).toEqual([true, false, true, false]);
  });
});

describe('clear', () => {
  it('removes every callback of every user', async () => {
    const { registry, send } = setUp();
    const { got, callback } = recorder();
    registry.add(alice, callback);
    registry.clear();
    expect(await send('a')).toEqual([true]);
    expect([got, registry.hasOwn(alice)]).toEqual([[], false]);
  });
});
