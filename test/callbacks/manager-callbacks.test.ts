import { describe, expect, it, onTestFinished } from 'vitest';
import { CallbackFilter } from '../../src/callbacks/callback.js';
import { ManagerCallbacks } from '../../src/callbacks/manager-callbacks.js';
import type {
  ClientCallback,
  ClientEvent,
  ManagerCallbackOptions,
  MatrixClientManagerOptions,
} from '../../src/index.js';
import { managerOnFake } from '../support/manager-on-fake.js';
import { Recorder } from '../support/recorder.js';
import { rejection } from '../support/rejection.js';
import { messageEvent } from './message-event.js';

const alice = '@alice:hs.test';
const carol = '@carol:hs.test';
const bob = '@bob:hs.test';
const messages: ManagerCallbackOptions = { types: ['message'] };

/** Alice and Carol share a room with Bob, who writes. */
function setUp(options: Partial<MatrixClientManagerOptions> = {}) {
  const world = managerOnFake(options);
  const { fake, clock, manager, soon } = world;
  const users = new Map(['alice', 'carol'].map((username) => [`@${username}:hs.test`, fake.createUser({ username })]));
  fake.createUser({ username: 'bob' });
  const roomId = fake.createRoom({ creator: bob, members: [alice, carol] });
  const say = (body: string, room = roomId): string => fake.sendMessage(room, bob, body);
  const start = async (userId: string, on = manager) => soon(on.startClient(users.get(userId) ?? { userId }));
  const settle = () => clock.advance(1_000);
  onTestFinished(async () => {
    await soon(manager.shutdown());
    await fake.close();
    await expect
      .poll(() => ({ inFlight: fake.inFlight, timers: clock.pendingTimers }))
      .toEqual({ inFlight: 0, timers: 0 });
  });
  return { ...world, roomId, say, start, settle };
}

/** What a callback got, with the users whose clients received it. */
function received({ events }: Recorder): string[] {
  return events.flatMap((event) =>
    event.type === 'message' ? [`${event.userId.slice(1, 6)} ${event.provenance} ${String(event.content.body)}`] : [],
  );
}

describe('a callback of the manager', () => {
  it('gets the events of every user who has a client, now or later, until it is removed', async () => {
    const { manager, say, start, settle } = setUp();
    await start(alice);
    const got = new Recorder();
    const off = manager.onEvent(got.callback, messages);
    say('1');
    await settle();
    await start(carol);
    say('2');
    await settle();
    off();
    say('3');
    await settle();
    expect(received(got)).toEqual(['alice live 1', 'alice live 2', 'carol live 2']);
  });

  it('gets those of the users, rooms and kinds that it asks for', async () => {
    const { fake, manager, roomId, say, start, settle } = setUp();
    const other = fake.createRoom({ creator: bob, members: [alice, carol] });
    const [one, here] = [new Recorder(), new Recorder()];
    manager.onEvent(one.callback, { ...messages, users: [carol] });
    manager.onEvent(here.callback, { ...messages, rooms: [roomId] });
    await Promise.all([start(alice), start(carol)]);
    say('a');
    say('b', other);
    await settle();
    expect(received(one).toSorted()).toEqual(['carol live a', 'carol live b']);
    expect(received(here).toSorted()).toEqual(['alice live a', 'carol live a']);
  });

  it('of the option gets what was missed while the process was down, before any other callback is added', async () => {
    const got = new Recorder();
    const { make, manager, storage, say, start, settle, soon } = setUp({
      callbacks: [{ callback: got.callback, ...messages }],
    });
    await start(alice);
    say('heard');
    await settle();
    await soon(manager.shutdown());
    say('missed');
    const next = make({ storage });
    onTestFinished(() => soon(next.shutdown()));
    await start(alice, next);
    await settle();
    expect(received(got)).toEqual(['alice live heard', 'alice gap-fill missed']);
  });

  it('gets the backlog if it asks for it, and a function alone gets all but that', async () => {
    const [backlog, plain] = [new Recorder(), new Recorder()];
    const { say, start, settle } = setUp({
      callbacks: [{ callback: backlog.callback, backlog: true, types: ['message'] }, plain.callback],
    });
    say('before');
    await start(alice);
    say('after');
    await settle();
    expect(received(backlog)).toEqual(['alice backlog before', 'alice live after']);
    expect(received(plain)).toEqual(['alice live after']);
  });

  it('that is added after a start gets what came before it', async () => {
    const { manager, say, start, settle } = setUp();
    await start(alice);
    say('missed');
    await settle();
    const got = new Recorder();
    manager.onEvent(got.callback, messages);
    await settle();
    expect(received(got)).toEqual(['alice gap-fill missed']);
  });

  it('that is removed as the last one leaves the later events to those that are added next', async () => {
    const { manager, say, start, settle } = setUp();
    const off = manager.onEvent(() => {}, messages);
    await start(alice);
    off();
    say('missed');
    await settle();
    const got = new Recorder();
    manager.addCallback(alice, got.callback, messages);
    await settle();
    expect(received(got)).toEqual(['alice gap-fill missed']);
  });

  it('starts no client for a call that needs none', async () => {
    const { manager, roomId, soon } = setUp({ callbacks: [() => {}] });
    await soon(manager.provisionUser({ username: 'alice' }));
    await soon(manager.sendMessage({ userId: alice, roomId, text: 'hi' }));
    expect(manager.hasClient(alice)).toBe(false);
    manager.addCallback(alice, () => {});
    await soon(manager.sendMessage({ userId: alice, roomId, text: 'hi' }));
    expect(manager.hasClient(alice)).toBe(true);
  });

  it('is called for the events of a room of a user one after the other, and not for those of other users', async () => {
    const { manager, say, start, settle } = setUp();
    const begun: string[] = [];
    const gate = Promise.withResolvers<void>();
    const callback = async (event: ClientEvent): Promise<void> => {
      if (event.type !== 'message') return;
      begun.push(`${event.userId.slice(1, 6)} ${String(event.content.body)}`);
      if (event.userId === alice) await gate.promise;
    };
    manager.onEvent(callback);
    await Promise.all([start(alice), start(carol)]);
    say('1');
    say('2');
    await settle();
    expect(begun.toSorted()).toEqual(['alice 1', 'carol 1', 'carol 2']);
    gate.resolve();
    await settle();
    expect(begun.slice(3)).toEqual(['alice 2']);
  });

  it('that fails is tried again, has a dead letter per user, and gets it again on request', async () => {
    const { manager, say, start, settle, soon } = setUp({ callbackAttempts: 2 });
    const got = new Recorder();
    let fails = true;
    manager.onEvent((event) => {
      void got.callback(event, { signal: new AbortController().signal });
      if (fails) throw new Error('told to fail');
    }, messages);
    const other = new Recorder();
    manager.addCallback(alice, other.callback, messages);
    await Promise.all([start(alice), start(carol)]);
    const id = say('poison');
    for (let turns = 0; turns < 5; turns++) await settle();
    expect(received(got).toSorted()).toEqual([
      ...Array(2).fill('alice live poison'),
      ...Array(2).fill('carol live poison'),
    ]);
    expect((await manager.deadLetters(alice)).map((letter) => letter.id)).toEqual([id]);
    expect((await manager.deadLetters(carol)).map((letter) => letter.id)).toEqual([id]);
    fails = false;
    expect(await soon(manager.retryDeadLetter(alice, id))).toBe(true);
    expect([received(got).length, received(other).length]).toEqual([5, 1]);
  });

  it('that has not finished gets the event again after a stop, and no position moves beyond it', async () => {
    const { manager, storage, say, start, settle, soon } = setUp({ stopTimeoutMs: 100 });
    const got = new Recorder();
    let hangs = true;
    manager.onEvent(async (event, { signal }) => {
      await got.callback(event, { signal });
      if (!hangs) return;
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('ended'))));
    }, messages);
    await start(alice);
    const { since } = await storage.loadCheckpoint(alice);
    say('unfinished');
    await settle();
    await soon(manager.stopClient(alice));
    expect((await storage.loadCheckpoint(alice)).since).toBe(since);
    hangs = false;
    await start(alice);
    await settle();
    expect(received(got)).toEqual(['alice live unfinished', 'alice gap-fill unfinished']);
  });

  it('with bad arguments is refused', async () => {
    const { make, manager } = setUp();
    const code = (run: () => unknown) =>
      rejection((async () => run())()).then((error) => (error as { code: string }).code);
    expect(await code(() => manager.onEvent(undefined as never))).toBe('INVALID_OPTIONS');
    expect(await code(() => manager.onEvent(() => {}, { user: [alice] } as never))).toBe('INVALID_OPTIONS');
    expect(await code(() => manager.onEvent(() => {}, { users: alice as never }))).toBe('INVALID_OPTIONS');
    expect(await code(() => manager.onEvent(() => {}, { users: ['alice'] }))).toBe('INVALID_USER_ID');
    expect(await code(() => make({ callbacks: [5 as never] }))).toBe('INVALID_OPTIONS');
    expect(await code(() => make({ callbacks: [{ types: ['message'] } as never] }))).toBe('INVALID_OPTIONS');
    expect(await code(() => make({ callbacks: (() => {}) as never }))).toBe('INVALID_OPTIONS');
    expect(await code(() => make({ callbacks: [{ callback: () => {}, rooms: ['x'] }] }))).toBe('INVALID_OPTIONS');
  });
});

describe('a callback of the manager with `once`', () => {
  const once: ManagerCallbackOptions = { ...messages, once: true };

  it('does not get from a user who was away for days what others have brought', async () => {
    const { clock, manager, say, start, settle, soon } = setUp({ sweepIntervalMs: 3_600_000 });
    const [got, own] = [new Recorder(), new Recorder()];
    manager.onEvent(got.callback, once);
    manager.addCallback(carol, own.callback, messages);
    await Promise.all([start(alice), start(carol)]);
    await soon(manager.stopClient(carol));
    for (let n = 1; n <= 30; n++) say(String(n));
    await settle();
    await soon(manager.stopClient(alice)); // its polls would take long
    await clock.advance(3 * 86_400_000);
    await start(carol);
    await settle();
    expect(own.bodies()).toHaveLength(30);
    expect(got.bodies()).toEqual(own.bodies());
  });

  it('holds the position of every user who has seen an event until it has finished with it', async () => {
    const { manager, storage, say, start, settle, soon } = setUp({ stopTimeoutMs: 100 });
    const begun: string[] = [];
    let fails = true;
    manager.onEvent(async ({ userId }, { signal }) => {
      begun.push(userId);
      if (fails) await new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('ended'))));
    }, once);
    await Promise.all([start(alice), start(carol)]);
    const positions = async (): Promise<unknown[]> =>
      Promise.all([alice, carol].map(async (user) => (await storage.loadCheckpoint(user)).since));
    const before = await positions();
    say('hello');
    await settle();
    expect([begun.length, await positions()]).toEqual([1, before]);
    const [first = ''] = begun;
    const second = first === alice ? carol : alice;
    fails = false;
    await soon(manager.stopClient(first));
    await settle();
    expect(begun).toEqual([first, second]);
    expect((await storage.loadCheckpoint(first)).since).toBe(before[first === alice ? 0 : 1]);
    await start(first);
    await settle();
    expect(begun).toEqual([first, second]);
    const after = await positions();
    expect(after.some((since) => before.includes(since))).toBe(false);
  });

  it('gets an event that a shutdown interrupted in the next process, once', async () => {
    const got = new Recorder();
    let hangs = true;
    const callback: ClientCallback = async (event, context) => {
      await got.callback(event, context);
      if (hangs)
        await new Promise((_, reject) => context.signal.addEventListener('abort', () => reject(new Error('ended'))));
    };
    const { make, manager, say, start, settle, soon } = setUp({
      stopTimeoutMs: 100,
      callbacks: [{ callback, ...once }],
    });
    await Promise.all([start(alice), start(carol)]);
    say('hello');
    await settle();
    await soon(manager.shutdown());
    const calls = got.events.length; // both clients stop: each may have begun
    hangs = false;
    const next = make();
    onTestFinished(() => soon(next.shutdown()));
    await Promise.all([start(alice, next), start(carol, next)]);
    await settle();
    expect(got.events.length - calls).toBe(1);
  });

  it('cannot ask for kinds of events without an id', async () => {
    const { make, manager } = setUp();
    expect(() => manager.onEvent(() => {}, { once: true, types: ['typing'] })).toThrow(/`types` with `once`/);
    expect(() => make({ callbacks: [{ callback: () => {}, once: true, types: ['invite'] }] })).toThrow(/`once`/);
  });
});

describe('what is kept for a callback of the manager', () => {
  function registered() {
    const callbacks = new ManagerCallbacks();
    callbacks.add(() => {}, CallbackFilter.forUsers());
    const userId = (n: number): string => `@user${n}:hs.test`;
    const use = (n: number) => callbacks.use(messageEvent({ userId: userId(n) }));
    return { callbacks, userId, use };
  }

  it('ends with the last event of a user that is under way', () => {
    const { callbacks, use } = registered();
    const used = [use(1), use(1), use(2)];
    expect(used[0]?.subscriptions[0]).toBe(used[1]?.subscriptions[0]);
    expect(callbacks.size).toBe(2);
    for (const { release } of used) release();
    expect(callbacks.size).toBe(0);
  });

  it('is bounded for users with events that it failed on', () => {
    const { callbacks, use } = registered();
    for (let n = 0; n < 3_000; n++) {
      const { subscriptions, release } = use(n);
      subscriptions[0]?.failedIds.add('$poison');
      release();
    }
    expect(callbacks.size).toBe(1_000);
    expect(use(2_999).subscriptions[0]?.failedIds.has('$poison')).toBe(true);
  });

  it('is kept while an overdue call of the user runs', () => {
    const { callbacks, userId, use } = registered();
    const { subscriptions, release } = use(1);
    const [subscription] = subscriptions;
    if (subscription) subscription.overdueCalls = 1;
    release();
    expect([callbacks.overdue, callbacks.overdueOf(userId(1)), callbacks.size]).toEqual([1, 1, 1]);
    if (subscription) subscription.overdueCalls = 0;
    expect([callbacks.overdue, callbacks.size]).toEqual([0, 0]);
  });
});
