import { describe, expect, it, onTestFinished } from 'vitest';
import type { ClientEvent, MatrixClientManagerOptions } from '../../src/index.js';
import { managerOnFake } from '../support/manager-on-fake.js';
import { Recorder } from '../support/recorder.js';
import { rejection } from '../support/rejection.js';

const alice = '@alice:hs.test';
const bob = '@bob:hs.test';

/** Alice has an account and a device, and shares rooms with Bob, who writes. */
function setUp(options: Partial<MatrixClientManagerOptions> = {}) {
  const world = managerOnFake(options);
  const { fake, manager, clock, make, soon } = world;
  const user = fake.createUser({ username: 'alice' });
  fake.createUser({ username: 'bob' });
  const room = (): string => fake.createRoom({ creator: bob, members: [alice] });
  const [roomA, roomB] = [room(), room()];
  const say = (body: string, roomId = roomA): string => fake.sendMessage(roomId, bob, body);
  const start = (callbacks: Recorder[] = [], on = manager) =>
    soon(on.startClient({ ...user, callbacks: callbacks.map(({ callback }) => callback) }));
  onTestFinished(async () => {
    await soon(manager.shutdown());
    await fake.close(); // it has timers of its own on the same clock
    // An aborted request leaves the fake a few turns of the event loop later.
    await expect
      .poll(() => ({ inFlight: fake.inFlight, timers: clock.pendingTimers }))
      .toEqual({ inFlight: 0, timers: 0 });
  });
  return { ...world, make, user, room, roomA, roomB, say, start };
}

/** A callback that runs until it is let go. */
function held() {
  const gate = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  const bodies: string[] = [];
  return {
    bodies,
    begun: begun.promise,
    letGo: gate.resolve,
    callback: async (event: ClientEvent): Promise<void> => {
      if (event.type !== 'message') return;
      bodies.push(String(event.content.body));
      begun.resolve();
      await gate.promise;
    },
  };
}

describe('the callbacks of a client', () => {
  it('each get what their filters let through', async () => {
    const { fake, manager, roomA, roomB, say, start } = setUp();
    const [all, messages, names, inB] = [new Recorder(), new Recorder(), new Recorder(), new Recorder()];
    manager.addCallback(alice, messages.callback, { types: ['message'] });
    manager.addCallback(alice, names.callback, { types: ['m.room.name', 'typing'] });
    manager.addCallback(alice, inB.callback, { rooms: [roomB] });
    await start([all]);
    say('a');
    fake.sendState(roomA, bob, 'm.room.name', { name: 'Name' });
    fake.setTyping(roomB, bob, true);
    say('b', roomB);
    await all.message('b');
    await names.until((events) => events.length === 2);
    await inB.until((events) => events.length === 2);
    await all.until((events) => events.length === 4);
    expect(all.events.map(({ type }) => type).toSorted()).toEqual(['message', 'message', 'state', 'typing']);
    expect(messages.bodies()).toEqual(['a', 'b']);
    expect(names.events.map(({ type }) => type)).toEqual(expect.arrayContaining(['state', 'typing']));
    expect(inB.events.every(({ roomId }) => roomId === roomB)).toBe(true);
    fake.setTyping(roomB, bob, false);
    await names.until((events) => events.length === 3);
  });

  it('get no history of the first sync, unless they ask for it', async () => {
    const { manager, say, start } = setUp();
    say('before');
    const [news, history] = [new Recorder(), new Recorder()];
    manager.addCallback(alice, history.callback, { types: ['message'], backlog: true });
    await start([news]);
    say('after');
    await news.message('after');
    await history.message('after');
    expect(news.bodies()).toEqual(['after']);
    expect(history.bodies()).toEqual(['before', 'after']);
    expect(history.events.map(({ provenance }) => provenance)).toEqual(['backlog', 'live']);
  });

  it('get what was missed while the client was stopped, in order, before what is new', async () => {
    const { manager, say, start } = setUp();
    const got = new Recorder();
    await start([got]);
    say('1');
    await got.message('1');
    await manager.stopClient(alice);
    say('2');
    say('3');
    await start();
    say('4');
    await got.message('4');
    expect(got.bodies()).toEqual(['1', '2', '3', '4']);
    expect(got.events.map(({ provenance }) => provenance)).toEqual(['live', 'gap-fill', 'gap-fill', 'live']);
  });

  it('call the first message after a resume live where nothing had been missed', async () => {
    const { manager, say, start } = setUp();
    const got = new Recorder();
    await start([got]);
    await manager.stopClient(alice);
    await start();
    say('first');
    await got.message('first');
    expect(got.events.map(({ provenance }) => provenance)).toEqual(['live']);
  });

  it('are told of an event that was taken back while the client was stopped by whom, when and why', async () => {
    const { fake, manager, say, start, roomA } = setUp();
    const got = new Recorder();
    await start([got]);
    await manager.stopClient(alice);
    const eventId = say('secret');
    const reason = fake.redact(roomA, bob, eventId, 'too much');
    const plain = fake.redact(roomA, bob, say('second secret'));
    await start();
    await got.until((events) => events.length === 4);
    const timestamp = expect.any(Number);
    expect(got.events[0]).toMatchObject({
      type: 'message',
      eventId,
      content: {},
      redacted: { eventId: reason, sender: bob, timestamp, reason: 'too much' },
    });
    expect(got.events.find((event) => 'redacted' in event && event.redacted?.eventId === plain)).toMatchObject({
      redacted: { eventId: plain, sender: bob, timestamp },
    });
  });

  it('get an event once when they are the same function, however often it is registered', async () => {
    const { manager, roomA, say, start } = setUp();
    const got = new Recorder();
    manager.addCallback(alice, got.callback);
    manager.addCallback(alice, got.callback, { rooms: [roomA] });
    await start([got, got]);
    await start([got]);
    say('1');
    say('2');
    await got.message('2');
    expect(got.bodies()).toEqual(['1', '2']);
  });
});

describe('a callback added', () => {
  it('before, during and after the start misses nothing from then on', async () => {
    const { fake, manager, soon, clock, user, say } = setUp();
    const [before, during, after] = [new Recorder(), new Recorder(), new Recorder()];
    manager.addCallback(alice, before.callback);
    fake.faults.latency({ endpoint: '/sync', times: 1 }, 5_000);
    const starting = manager.startClient(user);
    await clock.advance(1_000);
    expect(manager.clientInfo(alice)?.state).toBe('starting');
    manager.addCallback(alice, during.callback);
    await soon(starting);
    say('1');
    await before.message('1');
    manager.addCallback(alice, after.callback);
    say('2');
    await Promise.all([before, during, after].map((got) => got.message('2')));
    expect([before.bodies(), during.bodies(), after.bodies()]).toEqual([['1', '2'], ['1', '2'], ['2']]);
  });

  it('by a second start that joins the first is there from the first event on', async () => {
    const { soon, manager, user, say } = setUp();
    const [one, two] = [new Recorder(), new Recorder()];
    const starts = [one, two].map(({ callback }) => manager.startClient({ ...user, callbacks: [callback] }));
    await soon(Promise.all(starts));
    say('1');
    expect(await one.message('1')).toMatchObject({ type: 'message', userId: alice });
    expect(await two.message('1')).toMatchObject({ type: 'message', userId: alice });
  });

  it('from within another gets the next event, not the one at hand', async () => {
    const { manager, say, start } = setUp();
    const [first, second] = [new Recorder(), new Recorder()];
    manager.addCallback(alice, () => void manager.addCallback(alice, second.callback));
    await start([first]);
    say('1');
    await first.message('1');
    say('2');
    await second.message('2');
    expect(second.bodies()).toEqual(['2']);
  });
});

describe('a callback removed', () => {
  it('gets nothing any more, by function or by disposer, and others do', async () => {
    const { manager, say, start } = setUp();
    const [byFunction, byDisposer, stays] = [new Recorder(), new Recorder(), new Recorder()];
    const off = manager.addCallback(alice, byDisposer.callback);
    await start([byFunction, stays]);
    say('1');
    await Promise.all([byFunction.message('1'), byDisposer.message('1')]);
    expect(manager.removeCallback(alice, byFunction.callback)).toBe(true);
    expect(manager.removeCallback(alice, byFunction.callback)).toBe(false);
    off();
    say('2');
    await stays.message('2');
    expect([byFunction.bodies(), byDisposer.bodies()]).toEqual([['1'], ['1']]);
  });

  it('from within itself gets one event', async () => {
    const { manager, say, start } = setUp();
    const stays = new Recorder();
    const once: string[] = [];
    const off = manager.addCallback(alice, (event) => {
      off();
      once.push(event.type);
    });
    await start([stays]);
    say('1');
    say('2');
    await stays.message('2');
    expect(once).toEqual(['message']);
  });

  it('between two starts gets nothing of the second', async () => {
    const { manager, say, start } = setUp();
    const [gone, stays] = [new Recorder(), new Recorder()];
    await start([gone, stays]);
    await manager.stopClient(alice);
    manager.removeCallback(alice, gone.callback);
    say('1');
    await start();
    await stays.message('1');
    expect(gone.bodies()).toEqual([]);
  });
});

describe('a slow callback', () => {
  it('holds back its own room for itself, and nothing else', async () => {
    const { manager, roomB, say, start } = setUp();
    const [slow, quick] = [held(), new Recorder()];
    manager.addCallback(alice, slow.callback);
    await start([quick]);
    say('a1');
    await slow.begun;
    say('a2');
    say('b1', roomB);
    await quick.message('b1');
    await quick.message('a2');
    expect(slow.bodies).toEqual(['a1', 'b1']);
    slow.letGo();
    say('a3');
    await quick.message('a3');
    await manager.stopClient(alice);
    expect(slow.bodies).toEqual(['a1', 'b1', 'a2', 'a3']);
  });

  it('is waited for by a stop, and what it was at does not come again', async () => {
    const { manager, say, start, clock } = setUp();
    const slow = held();
    manager.addCallback(alice, slow.callback);
    await start();
    say('1');
    await slow.begun;
    let stopped = false;
    const stopping = manager.stopClient(alice).then(() => (stopped = true));
    await clock.advance(1_000);
    expect(stopped).toBe(false);
    slow.letGo();
    await stopping;
    const later = new Recorder();
    await start([later]);
    say('2');
    await later.message('2');
    expect(slow.bodies).toEqual(['1', '2']);
  });

  it('that outlasts the stop does not get the event again when it has finished it late', async () => {
    const { manager, say, start, clock } = setUp({ stopTimeoutMs: 5_000 });
    const slow = held();
    manager.addCallback(alice, slow.callback);
    await start();
    say('1');
    await slow.begun;
    const stopping = manager.stopClient(alice);
    await clock.advance(5_000);
    await stopping;
    slow.letGo();
    const later = new Recorder();
    await start([later]);
    say('2');
    await later.message('2');
    expect(slow.bodies).toEqual(['1', '2']);
  });

  it('makes no other get again what it has had, when the client is stopped meanwhile', async () => {
    const { manager, say, start, soon } = setUp({ stopTimeoutMs: 100 });
    const [slow, quick] = [held(), new Recorder()];
    manager.addCallback(alice, slow.callback);
    await start([quick]);
    for (const body of ['1', '2', '3']) say(body);
    await quick.message('3');
    await soon(manager.stopClient(alice));
    slow.letGo();
    await start();
    say('4');
    await quick.message('4');
    await soon(manager.stopClient(alice));
    expect(quick.bodies()).toEqual(['1', '2', '3', '4']);
    expect(slow.bodies).toEqual(['1', '2', '3', '4']);
  });
});

describe('a failing callback', () => {
  const failing = (times: number) => {
    const bodies: string[] = [];
    let left = times;
    const callback = (event: ClientEvent): void => {
      if (event.type !== 'message') return;
      bodies.push(String(event.content.body));
      if (left-- > 0) throw new Error('the application has a bug');
    };
    return { bodies, callback };
  };

  it('is told of by callbackError, and tried again after a pause that doubles', async () => {
    const { manager, say, start, clock } = setUp();
    const { bodies, callback } = failing(2);
    const told: unknown[] = [];
    manager.on('callbackError', ({ userId, event, error, attempt }) => told.push([userId, event.type, error, attempt]));
    manager.addCallback(alice, callback);
    await start();
    say('1');
    await clock.advance(999);
    expect(bodies).toEqual(['1']);
    await clock.advance(1);
    expect(bodies).toEqual(['1', '1']);
    await clock.advance(1_999);
    expect(bodies).toEqual(['1', '1']);
    await clock.advance(1);
    expect(bodies).toEqual(['1', '1', '1']);
    const error = expect.objectContaining({ message: 'the application has a bug' });
    expect(told).toEqual([
      [alice, 'message', error, 1],
      [alice, 'message', error, 2],
    ]);
    expect(await manager.deadLetters(alice)).toEqual([]);
  });

  it('loses the event to the dead letters in the end, and goes on with the next', async () => {
    const { manager, say, start, clock } = setUp({ callbackAttempts: 2, callbackRetryDelayMs: 100 });
    const { bodies, callback } = failing(2);
    const letters: unknown[] = [];
    manager.on('deadLetter', ({ userId, event }) => letters.push([userId, 'eventId' in event && event.eventId]));
    manager.addCallback(alice, callback);
    await start();
    const lost = say('1');
    say('2');
    await clock.advance(100);
    expect(bodies).toEqual(['1', '1', '2']);
    expect(letters).toEqual([[alice, lost]]);
    expect(await manager.deadLetters(alice)).toMatchObject([
      { event: { eventId: lost }, error: { message: 'the application has a bug' }, attempts: 2 },
    ]);
    await manager.stopClient(alice);
    await start();
    say('3');
    await clock.advance(100);
    expect(bodies).toEqual(['1', '1', '2', '3']);
  });

  it('harms neither the client nor other callbacks nor other rooms', async () => {
    const { manager, roomB, say, start } = setUp();
    const { bodies, callback } = failing(1);
    const fine = new Recorder();
    manager.addCallback(alice, callback);
    await start([fine]);
    say('a1');
    say('a2');
    say('b1', roomB);
    await Promise.all(['a1', 'a2', 'b1'].map((body) => fine.message(body)));
    expect(fine.bodies().toSorted()).toEqual(['a1', 'a2', 'b1']);
    expect(bodies).toEqual(['a1', 'b1']);
    expect(manager.clientInfo(alice)?.state).toBe('live');
  });

  it('does not get lost in a stop: the event comes again with the next start', async () => {
    const { manager, say, start, clock } = setUp();
    const { bodies, callback } = failing(1);
    const fine = new Recorder();
    manager.addCallback(alice, callback);
    await start([fine]);
    say('1');
    await fine.message('1');
    await clock.advance(0);
    await manager.stopClient(alice);
    expect(bodies).toEqual(['1']);
    await start();
    await clock.advance(1_000);
    expect(bodies).toEqual(['1', '1']);
    expect(fine.bodies()).toEqual(['1']);
  });

  it('and a listener of callbackError that fails too harm nobody', async () => {
    const { manager, logger, say, start } = setUp({ callbackAttempts: 1 });
    const { callback } = failing(1);
    const fine = new Recorder();
    for (const name of ['callbackError', 'deadLetter'] as const) {
      manager.on(name, () => {
        throw new Error('so has the listener');
      });
    }
    manager.addCallback(alice, callback);
    await start([fine]);
    say('1');
    say('2');
    await fine.message('2');
    expect(logger.entries.filter(({ level }) => level === 'error')).not.toEqual([]);
  });
});

describe('from inside a callback', () => {
  it('stopClient stops without a deadlock, and the event at hand is neither lost nor repeated', async () => {
    const { manager, say, start } = setUp();
    const got = new Recorder();
    const stopped = Promise.withResolvers<boolean>();
    let stops = 0;
    manager.addCallback(alice, async (event) => {
      if (event.type === 'message' && event.content.body === 'stop' && ++stops === 1) {
        stopped.resolve(await manager.stopClient(alice));
      }
    });
    await start([got]);
    say('1');
    say('stop');
    expect(await stopped.promise).toBe(true);
    expect(manager.hasClient(alice)).toBe(false);
    say('2');
    await start();
    await got.message('2');
    expect(got.bodies()).toEqual(['1', 'stop', '2']);
    expect(stops).toBe(1);
  });

  it('stopClient by two callbacks at once stops without a deadlock', async () => {
    const { manager, roomB, say, start } = setUp();
    const stops: Promise<boolean>[] = [];
    const both = Promise.withResolvers<void>();
    manager.addCallback(alice, async () => {
      stops.push(manager.stopClient(alice));
      if (stops.length === 2) both.resolve();
      await stops.at(-1);
    });
    await start();
    say('a');
    say('b', roomB);
    await both.promise;
    expect((await Promise.all(stops)).includes(true)).toBe(true);
    expect(manager.hasClient(alice)).toBe(false);
  });

  it('startClient finds the client that runs', async () => {
    const { manager, say, start } = setUp();
    const states: unknown[] = [];
    const done = Promise.withResolvers<void>();
    manager.addCallback(alice, async () => {
      states.push((await manager.startClient({ userId: alice })).state);
      done.resolve();
    });
    await start();
    say('1');
    await done.promise;
    expect(states).toEqual(['live']);
  });

  it('a stop and a start leave a client that works, with nothing lost or repeated', async () => {
    const { manager, storage, soon, say, start } = setUp();
    const got = new Recorder();
    const restarted = Promise.withResolvers<void>();
    const bodies: unknown[] = [];
    manager.addCallback(alice, async (event) => {
      if (event.type !== 'message') return;
      bodies.push(event.content.body);
      if (event.content.body !== 'restart') return;
      await manager.stopClient(alice);
      await manager.startClient({ userId: alice });
      restarted.resolve();
    });
    await start([got]);
    say('1');
    say('restart');
    say('2');
    await soon(restarted.promise);
    say('3');
    await got.message('3');
    await soon(manager.stopClient(alice));
    expect(bodies).toEqual(['1', 'restart', '2', '3']);
    expect(got.bodies()).toEqual(['1', 'restart', '2', '3']);
    // what a next process starts from
    const { journal, lastDelivered } = await storage.loadCheckpoint(alice);
    expect([...lastDelivered.values(), ...journal].map(({ eventId }) => eventId)).toContain(
      got.events.flatMap((event) => (event.type === 'message' ? [event.eventId] : [])).at(-1),
    );
  });

  it('shutdown ends without a deadlock, and the next manager does not repeat the event', async () => {
    const { manager, make, soon, say, start } = setUp();
    const down = Promise.withResolvers<void>();
    const bodies: unknown[] = [];
    manager.addCallback(alice, async (event) => {
      if (event.type === 'message') bodies.push(event.content.body);
      await manager.shutdown();
      down.resolve();
    });
    await start();
    say('1');
    await soon(down.promise);
    expect(await rejection(manager.startClient({ userId: alice }))).toMatchObject({ code: 'MANAGER_CLOSED' });
    say('2');
    const [next, got] = [make(), new Recorder()];
    await start([got], next);
    await got.message('2');
    await soon(next.shutdown());
    expect([bodies, got.bodies()]).toEqual([['1'], ['2']]);
  });

  it('everything else of the manager may be called', async () => {
    const { fake, manager, roomA, soon, say, start } = setUp();
    const done = Promise.withResolvers<unknown[]>();
    manager.addCallback(alice, async (event) => {
      if (event.type !== 'message' || event.sender === alice) return;
      const results: unknown[] = [
        await manager.withClient(alice, (client) => client.getUserId()),
        (await manager.sendMessage({ userId: alice, roomId: roomA, text: 'reply' })).eventId,
        (await manager.getRoomMessages({ userId: alice, roomId: roomA, limit: 1 })).messages.length,
        (await manager.provisionUser({ username: 'carol' })).userId,
      ];
      await manager.startClient({ userId: '@carol:hs.test' });
      results.push(await manager.stopClient('@carol:hs.test'));
      done.resolve(results);
    });
    const got = new Recorder();
    await start([got]);
    say('1');
    expect(await soon(done.promise)).toEqual([alice, expect.any(String), 1, '@carol:hs.test', true]);
    await got.message('reply');
    expect(got.bodies()).toEqual(['1', 'reply']);
    expect(fake.unhandled).toEqual([]);
  });
});

describe('no callback gets an event twice', () => {
  it('when the connection breaks, the token dies and the client is stopped and started in between', async () => {
    const { fake, manager, roomA, roomB, say, start, clock, soon } = setUp({ stopTimeoutMs: 100 });
    const got = [new Recorder(), new Recorder()];
    await start(got);
    const sent: Record<string, string[]> = { [roomA]: [], [roomB]: [] };
    for (let round = 0; round < 12; round++) {
      for (const roomId of [roomA, roomB, roomA]) {
        sent[roomId]?.push(`${round} ${sent[roomId].length}`);
        say(sent[roomId]?.at(-1) ?? '', roomId);
      }
      if (round % 4 === 0) fake.restart();
      if (round % 4 === 1) fake.killTokens(alice);
      if (round % 4 === 2) await soon(manager.stopClient(alice));
      await start();
      await clock.advance(round % 3 === 0 ? 0 : 2_000);
    }
    say('the end');
    sent[roomA]?.push('the end');
    await soon(Promise.all(got.map((each) => each.message('the end'))));
    await soon(manager.stopClient(alice));
    for (const each of got) {
      expect(each.bodies(roomA)).toEqual(sent[roomA]);
      expect(each.bodies(roomB)).toEqual(sent[roomB]);
    }
  });
});

describe('bad input', () => {
  it.each([undefined, null, 'f', {}])(
    'is a callback that is %j: nothing is registered, started or sent',
    async (bad) => {
      const { fake, manager, user, say } = setUp();
      const callback = bad as never;
      expect(await rejection(() => manager.addCallback(alice, callback))).toMatchObject({ code: 'INVALID_OPTIONS' });
      const good = new Recorder();
      const starting = manager.startClient({ ...user, callbacks: [good.callback, callback] });
      expect(await rejection(starting)).toMatchObject({ code: 'INVALID_OPTIONS' });
      expect([manager.hasClient(alice), fake.requests.length]).toEqual([false, 0]);
      say('1');
      expect(good.events).toEqual([]);
    },
  );

  it.each(['alice', '', undefined, 7])('is a user id that is %j', async (userId) => {
    const { manager } = setUp();
    const call = () => manager.addCallback(userId as string, () => {});
    expect(await rejection(call)).toMatchObject({ code: 'INVALID_USER_ID' });
  });

  it.each([{ types: 'message' }, { rooms: ['#alias:x'] }, { backlog: 1 }, null])(
    'are options that are %j',
    async (bad) => {
      const { manager } = setUp();
      const call = () => manager.addCallback(alice, () => {}, bad as never);
      expect(await rejection(call)).toMatchObject({ code: 'INVALID_OPTIONS' });
    },
  );
});

describe('a callback that never returns', () => {
  it('shows in the log, as an event, in stats and in health, and holds its room up no longer than it may', async () => {
    const { manager, clock, logger, say, start, roomA, roomB } = setUp({ callbackAttempts: 1 });
    const told: unknown[] = [];
    manager.on('callbackError', ({ error }) => told.push(error));
    const release = Promise.withResolvers<void>();
    const bodies: string[] = [];
    manager.addCallback(alice, async (event) => {
      if (event.type !== 'message') return;
      bodies.push(String(event.content.body));
      if (event.roomId === roomA && event.content.body === '1') await release.promise;
    });
    await start();
    say('1');
    say('2');
    say('other room', roomB);
    await clock.advance(300_000);
    expect(bodies.toSorted()).toEqual(['1', '2', 'other room']);
    expect(told).toMatchObject([{ code: 'TIMEOUT', userId: alice, roomId: roomA }]);
    expect(logger.entries.filter(({ level, message }) => level === 'warn' && /callback/.test(message))).toHaveLength(1);
    expect(manager.stats()).toMatchObject({ overdueCallbacks: 1, callbacks: { failed: { count: 1 }, deadLetters: 1 } });
    expect(manager.clientInfo(alice)).toMatchObject({ overdueCallbacks: 1 });
    expect(await manager.checkHealth()).toEqual({
      status: 'degraded',
      reasons: ['1 callback calls are still running after callbackTimeoutMs'],
    });
    release.resolve();
    await clock.advance(0);
    expect(manager.listClients()).toMatchObject([{ overdueCallbacks: 0 }]);
    expect(await manager.checkHealth()).toMatchObject({ status: 'ok' });
  });

  it('is told by its signal when a stop has waited for it; the next start goes on behind it', async () => {
    const { manager, clock, say, start } = setUp({ stopTimeoutMs: 2_000 });
    const signals: AbortSignal[] = [];
    const bodies: string[] = [];
    manager.addCallback(alice, async (event, { signal }) => {
      if (event.type !== 'message') return;
      bodies.push(String(event.content.body));
      signals.push(signal);
      if (signals.length === 1) await new Promise((resolve) => signal.addEventListener('abort', resolve));
    });
    await start();
    say('1');
    await clock.advance(1_000);
    const stopping = manager.stopClient(alice);
    await clock.advance(1_999);
    expect(signals[0]?.aborted).toBe(false);
    await clock.advance(1);
    expect([await stopping, signals[0]?.aborted]).toEqual([true, true]);
    say('2');
    await start();
    await clock.advance(1_000);
    expect(bodies).toEqual(['1', '2']);
  });

  it('does not hold up a shutdown, nor the retry of a dead letter that waits for it', async () => {
    const { manager, clock, say, start, soon } = setUp({ stopTimeoutMs: 2_000, callbackAttempts: 1 });
    let calls = 0;
    manager.addCallback(alice, (event) => {
      if (event.type !== 'message') return undefined;
      calls++;
      if (calls === 1) throw new Error('no');
      return new Promise(() => {});
    });
    await start();
    say('1');
    await clock.advance(1_000);
    const [letter] = await manager.deadLetters(alice);
    const retry = rejection(manager.retryDeadLetter(alice, letter?.id ?? ''));
    await clock.advance(1_000);
    expect(calls).toBe(2);
    await soon(manager.shutdown());
    expect((await retry).code).toBe('MANAGER_CLOSED');
  });
});
