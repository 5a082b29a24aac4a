import { afterEach, describe, expect, it } from 'vitest';
import type { ClientEvent, Connection } from '../../src/index.js';
import { pipeToSse, sseResponse } from '../../src/sse/index.js';
import type { SseOptions } from '../../src/sse/index.js';
import { managerOnFake } from '../support/manager-on-fake.js';
import { MemoryBrowser, wrapped } from './sse-support.js';

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});

async function setUp() {
  const on = managerOnFake({ pollTimeoutMs: 600_000 });
  open.push(on.fake, on.manager);
  const { fake, storage, clock, manager } = on;
  const [alice, bob] = [fake.createUser({ username: 'alice' }), fake.createUser({ username: 'bob' })];
  const newRoom = (): string => fake.createRoom({ creator: bob.userId, members: [alice.userId] });
  const roomId = newRoom();
  for (const user of [alice, bob]) await storage.setCredentials(user);
  const { userId } = alice;
  // What keeps the user's events from being held for the next stream.
  manager.addCallback(userId, () => {});
  const say = async (text: string, room = roomId): Promise<string> => {
    const eventId = fake.sendMessage(room, bob.userId, text);
    await clock.advance(100);
    return eventId;
  };
  const watch = async (options: SseOptions = {}, wrap = (connection: Connection) => connection) => {
    const browser = new MemoryBrowser();
    const connection = wrap(await on.soon(manager.connect({ userId })));
    const ended = browser.stream(connection, { clock, ...options });
    await clock.advance(100);
    return { browser, connection, ended };
  };
  const leave = async ({ browser, ended }: Awaited<ReturnType<typeof watch>>): Promise<string | undefined> => {
    browser.disconnect();
    expect(await ended).toEqual({ reason: 'disconnected' });
    return browser.lastId;
  };
  return { ...on, userId, bob, roomId, newRoom, say, watch, leave };
}

describe('live events', () => {
  it('have their type, the id of the event and their JSON on one line, whatever they contain', async () => {
    const { fake, watch, say, roomId, bob, userId, clock } = await setUp();
    const { browser } = await watch({ rooms: [roomId] });
    const text = 'a\n\nevent: admin\r\ndata: {}\rid: 1\n: \u2028';
    const eventId = await say(text);
    fake.setTyping(roomId, bob.userId, true);
    await clock.advance(100);
    expect(browser.text.startsWith('retry: 3000\n\n')).toBe(true);
    const [message, typing] = browser.events;
    expect(message).toMatchObject({
      event: 'message',
      id: eventId,
      data: { eventId, roomId, userId, provenance: 'live' },
    });
    expect(message?.data.content?.body).toBe(text);
    expect(typing).toMatchObject({ event: 'typing', id: undefined, data: { userIds: [bob.userId] } });
    expect(browser.events).toHaveLength(2);
  });

  it('are those of the types and rooms', async () => {
    const { watch, say, newRoom, fake, bob, roomId, clock } = await setUp();
    const other = newRoom();
    const { browser } = await watch({ types: ['message'], rooms: [other] });
    await say('elsewhere');
    fake.setTyping(other, bob.userId, true);
    await say('here', other);
    expect(browser.log).toEqual(['here']);
    const typingOnly = await watch({ types: ['typing'] });
    await say('no message');
    fake.setTyping(roomId, bob.userId, true);
    await clock.advance(100);
    expect(typingOnly.browser.log).toEqual(['typing']);
    expect(typingOnly.browser.lastId).toBeUndefined();
  });

  it('have no room if they tell of presence, and no id', async () => {
    const { watch, manager, bob, clock, leave } = await setUp();
    const watched = await watch({ types: ['presence'], lastEventId: 'unusable' });
    const { browser } = watched;
    await manager.setPresence({ userId: bob.userId, presence: 'online', statusMessage: 'Here' });
    await clock.advance(100);
    expect(browser.events.at(-1)).toMatchObject({ event: 'presence', id: undefined, data: { statusMessage: 'Here' } });
    expect(await leave(watched)).toBeUndefined();
  });
});

describe('a browser that returns', () => {
  it('gets what it has missed in its room, in order and once, then what is new', async () => {
    const { watch, leave, say, roomId } = await setUp();
    const first = await watch({ rooms: [roomId] });
    await say('one');
    const lastEventId = await leave(first);
    await say('two');
    await say('three');
    const { browser } = await watch({ rooms: [roomId], lastEventId });
    await say('four');
    expect(browser.log).toEqual(['two', 'three', 'four']);
    expect(browser.events.map(({ data }) => data.provenance)).toEqual(['gap-fill', 'gap-fill', 'live']);
    expect(browser.events.map(({ id, data }) => id === data.eventId)).toEqual([true, true, true]);
  });

  it('gets it in every room that it watches, also in one that was quiet while it was there', async () => {
    const { watch, leave, say, newRoom, roomId } = await setUp();
    const [busy, quiet, unwatched] = [roomId, newRoom(), newRoom()];
    await say('old', quiet);
    for (const rooms of [undefined, [busy, quiet]]) {
      const first = await watch({ rooms });
      await say('seen', busy);
      const lastEventId = await leave(first);
      await say('missed 1', quiet);
      await say('missed 2', busy);
      await say('missed 3', quiet);
      await say('missed 4', unwatched);
      const { browser, ...second } = await watch({ rooms, lastEventId });
      const missed = ['missed 1', 'missed 3', 'missed 2', ...(rooms ? [] : ['missed 4'])];
      expect(new Set(browser.log)).toEqual(new Set(missed));
      expect(browser.log).toHaveLength(missed.length);
      expect(browser.log.indexOf('missed 1')).toBeLessThan(browser.log.indexOf('missed 3'));
      // And again, from the last id of the second stream.
      const next = await leave({ browser, ...second });
      await say('missed 5', quiet);
      const third = await watch({ rooms, lastEventId: next });
      expect(third.browser.log).toEqual(['missed 5']);
      await leave(third);
    }
  });

  it('gets edits, reactions and redactions, too, of the types that it asks for', async () => {
    const { watch, leave, say, manager, soon, roomId, bob } = await setUp();
    const { userId } = bob;
    const first = await watch();
    const eventId = await say('one');
    const lastEventId = await leave(first);
    await soon(manager.sendMessage({ userId, roomId, text: 'two', edits: eventId }));
    await soon(manager.sendReaction({ userId, roomId, eventId, key: '👍' }));
    const { eventId: three } = await soon(manager.sendMessage({ userId, roomId, text: 'three' }));
    await soon(manager.redact({ userId, roomId, eventId: three }));
    const { browser } = await watch({ lastEventId });
    expect(browser.events.map(({ event }) => event)).toEqual(['message', 'reaction', 'message', 'redaction']);
    const some = await watch({ lastEventId, types: ['reaction', 'typing'] });
    expect(some.browser.log).toEqual(['reaction']);
  });

  it('gets live events after the missed ones, and none twice, if they arrive meanwhile', async () => {
    const { watch, leave, say, roomId } = await setUp();
    const first = await watch();
    await say('one');
    const lastEventId = await leave(first);
    await say('two');
    const mayRead = Promise.withResolvers<void>();
    const slowly = (connection: Connection): Connection =>
      wrapped(connection, {
        getRoomMessages: async (options) => {
          await mayRead.promise;
          return connection.getRoomMessages(options);
        },
      });
    const { browser } = await watch({ lastEventId }, slowly);
    await say('three');
    expect(browser.log).toEqual([]);
    mayRead.resolve();
    await say('four');
    expect(browser.log).toEqual(['two', 'three', 'four']);
    expect(browser.events.every(({ data }) => data.roomId === roomId)).toBe(true);
  });

  it('gets a missed event that was not decrypted again once it is, and its position stays', async () => {
    const { watch, leave, say, roomId } = await setUp();
    const first = await watch({ rooms: [roomId] });
    await say('one');
    const lastEventId = await leave(first);
    const mayRead = Promise.withResolvers<void>();
    const withoutKeys = (connection: Connection): Connection =>
      wrapped(connection, {
        getRoomMessages: async (options) => {
          await mayRead.promise;
          const page = await connection.getRoomMessages(options);
          const decryption = { state: 'failed', reason: 'missing-key' } as const;
          return { ...page, messages: page.messages.map((message) => ({ ...message, content: {}, decryption })) };
        },
      });
    const { browser } = await watch({ rooms: [roomId], lastEventId }, withoutKeys);
    await say('secret');
    const newest = await say('newest');
    mayRead.resolve();
    await say('next');
    expect(browser.log).toEqual([undefined, undefined, 'secret', 'newest', 'next']);
    expect(browser.events.slice(1, 4).map(({ id }) => id)).toEqual([newest, newest, newest]);
  });

  it('keeps its position when older events are given out again, until the first live one', async () => {
    const { watch, leave, say, roomId, clock } = await setUp();
    const first = await watch({ rooms: [roomId] });
    const older = await say('one');
    await say('two');
    const lastEventId = await leave(first);
    const callbacks: ((event: ClientEvent) => unknown)[] = [];
    const { browser } = await watch({ rooms: [roomId], lastEventId }, (connection) =>
      wrapped(connection, {
        addCallback: (callback, ...options) => {
          callbacks.push((event) => callback(event, { signal: new AbortController().signal }));
          return connection.addCallback(callback, ...options);
        },
      }),
    );
    const again = first.browser.events.find(({ id }) => id === older)?.data;
    for (const callback of callbacks) callback({ ...again, provenance: 'gap-fill' } as never);
    await clock.advance(100);
    expect([browser.log, browser.lastId]).toEqual([['one'], lastEventId]);
    const live = await say('three');
    expect(browser.lastId).toBe(live);
  });

  it('is told to read again what its client had yet to receive while it was there', async () => {
    const { watch, leave, say, roomId, fake, clock, manager, soon, userId } = await setUp();
    await soon(manager.startClient({ userId }));
    await say('known');
    fake.faults.status({ endpoint: '/sync' }, { status: 503 });
    for (const text of ['with the running poll', 'lost 1', 'lost 2']) await say(text);
    const first = await watch({ rooms: [roomId] });
    expect(first.browser.log).toEqual([]);
    const lastEventId = await leave(first);
    fake.faults.clear();
    await clock.advance(120_000);
    const { browser } = await watch({ rooms: [roomId], lastEventId });
    expect(browser.events.map(({ event, data }) => [event, data])).toEqual([['reset', {}]]);
  });

  it('is told which rooms it has to read again', async () => {
    const { watch, leave, say, newRoom, roomId, fake, manager, soon, userId } = await setUp();
    const gone = newRoom();
    const first = await watch();
    await say('one');
    const lastEventId = await leave(first);
    for (const text of ['two', 'three', 'four']) await say(text);
    await soon(manager.rooms.leave({ userId, roomId: gone }));
    const joined = fake.createRoom({ creator: fake.createUser({ username: 'carol' }).userId, members: [userId] });
    const { browser } = await watch({ lastEventId, replayLimit: 2 });
    await say('five');
    expect(browser.log).toEqual(['two', 'three', 'reset', 'five']);
    const reset = browser.events[2];
    expect(reset?.data).toEqual({ rooms: expect.arrayContaining([roomId, joined]), left: true });
    expect(reset?.id).toBeTypeOf('string');
  });

  it.each<[string, unknown]>([
    ['an unknown event', '$unknown'],
    ['text', 'x'],
    ['a broken escape', '$a%;AAAAAAAA'],
    ['a broken room', '$a;b;c=d'],
    ['a room twice', '$a;AAAAAAAA;AAAAAAAA=b'],
    ['too many rooms', `$a;AAAAAAAA${';BBBBBBBB=c'.repeat(60)}`],
    ['too long', `$${'a'.repeat(10_000)}`],
    ['a list', ['$a', '$b']],
    ['a number', 7],
    ['an object', { toString: null }],
  ])('starts live with a `reset` if its last id is unusable: %s', async (_what, lastEventId) => {
    const { watch, say, roomId } = await setUp();
    for (const rooms of [undefined, [roomId]]) {
      const { browser } = await watch({ rooms, lastEventId: lastEventId as string });
      await say('live');
      expect(browser.log).toEqual(['reset', 'live']);
    }
  });

  it('is told so as well if its rooms cannot be listed', async () => {
    const { watch, leave, say, fake, clock } = await setUp();
    const first = await watch();
    await say('one');
    const lastEventId = await leave(first);
    fake.faults.status({ endpoint: '/joined_rooms', times: 2 }, { status: 403, errcode: 'M_FORBIDDEN' });
    const { browser } = await watch({ lastEventId });
    await clock.advance(10_000);
    await say('live');
    expect(browser.events.map(({ event, data }) => (event === 'reset' ? data : event))).toEqual([{}, 'message']);
  });
});

describe('a slow browser', () => {
  const big = 'x'.repeat(1_000);

  it('is disconnected when its buffer is full, and gets the rest when it returns', async () => {
    const { watch, say, manager, userId } = await setUp();
    const { browser, ended } = await watch({ maxBufferBytes: 4_000 });
    await say('read');
    const lastEventId = browser.lastId;
    browser.isStalled = true;
    await say(`1${big.repeat(5)}`);
    expect(browser.ended).toBe('destroyed');
    for (const count of [2, 3, 4]) await say(`${count}${big}`);
    expect(await ended).toEqual({ reason: 'slow' });
    expect(manager.clientInfo(userId)?.connections).toBe(0);
    const { browser: next } = await watch({ lastEventId });
    expect(next.log.map((text) => String(text)[0])).toEqual(['1', '2', '3', '4']);
  });

  it('holds other callbacks up for five seconds at most', async () => {
    const { watch, say, manager, userId, clock } = await setUp();
    const received: unknown[] = [];
    manager.addCallback(userId, (event: ClientEvent) => void received.push(event.type === 'message' && event.text));
    const { browser, ended } = await watch({ maxBufferBytes: 4_000 });
    browser.isStalled = true;
    for (const text of [big, `${big}2`, 'three']) await say(text);
    await clock.advance(4_000);
    expect(browser.ended).toBeUndefined();
    await clock.advance(1_000);
    expect(await ended).toEqual({ reason: 'slow' });
    expect(received).toEqual([big, `${big}2`, 'three']);
  });

  it('gets everything if it reads on in time', async () => {
    const { watch, say, clock } = await setUp();
    const { browser } = await watch({ maxBufferBytes: 4_000 });
    browser.isStalled = true;
    for (const text of [big, big, 'three']) await say(text);
    browser.readOn();
    await clock.advance(10_000);
    expect(browser.log).toEqual([big, big, 'three']);
    expect(browser.ended).toBeUndefined();
  });

  it('is disconnected if it has read nothing from one heartbeat to the next', async () => {
    const { watch, say, clock } = await setUp();
    const { browser, ended } = await watch();
    await clock.advance(15_000);
    expect(browser.text.match(/^:$/gm)).toHaveLength(1);
    browser.isStalled = true;
    await say('one');
    await clock.advance(15_000);
    expect(browser.ended).toBeUndefined();
    await clock.advance(15_000);
    expect(await ended).toEqual({ reason: 'slow' });
    expect(browser.text.match(/^:$/gm)).toHaveLength(1);
  });

  it('does not fill the memory while missed events are read', async () => {
    const { watch, leave, say } = await setUp();
    const first = await watch();
    await say('one');
    const lastEventId = await leave(first);
    const never = (connection: Connection): Connection =>
      wrapped(connection, { getJoinedRooms: () => new Promise(() => {}) });
    const { ended } = await watch({ lastEventId, maxBufferBytes: 4_000 }, never);
    for (const count of [1, 2, 3, 4]) await say(`${count}${big}`);
    expect(await ended).toEqual({ reason: 'slow' });
  });

  it('has a limit in bytes, whatever the script of the messages', async () => {
    const { watch, leave, say } = await setUp();
    const first = await watch();
    await say('one');
    const lastEventId = await leave(first);
    const never = (connection: Connection): Connection =>
      wrapped(connection, { getJoinedRooms: () => new Promise(() => {}) });
    const { ended } = await watch({ lastEventId, maxBufferBytes: 4_000 }, never);
    await say('字'.repeat(1_000));
    expect(await ended).toEqual({ reason: 'slow' });
  });

  it('is not one that reads the body of a `Response` steadily', async () => {
    const { manager, soon, userId, say, clock } = await setUp();
    const connection = await soon(manager.connect({ userId }));
    const reader = sseResponse(connection, { clock, types: ['message'], maxBufferBytes: 100_000 }).body?.getReader();
    for (let count = 0; count < 30; count++) await say(`${count}${big}`);
    for (let count = 0; count < 25; count++) {
      await clock.advance(500);
      await say('further');
      expect((await reader?.read())?.done).toBe(false);
    }
    expect(connection.state).toBe('live');
    await reader?.cancel();
  });
});

describe('the end of a stream', () => {
  it('comes when the browser disconnects, and closes the connection', async () => {
    const { watch, leave, manager, userId, clock, say } = await setUp();
    const watching = await watch();
    const { text } = watching.browser;
    expect(manager.clientInfo(userId)?.connections).toBe(1);
    await leave(watching);
    expect(manager.clientInfo(userId)?.connections).toBe(0);
    await say('nobody sees it');
    await clock.advance(60_000);
    expect(watching.browser.text).toBe(text);
  });

  it.each<[string, (on: Awaited<ReturnType<typeof setUp>>, connection: Connection) => Promise<unknown>]>([
    ['the connection is closed', (_on, connection) => connection.close()],
    ['the client is stopped', ({ manager, userId }) => manager.stopClient(userId)],
    ['the manager is shut down', ({ manager, soon }) => soon(manager.shutdown())],
  ])('comes when %s', async (_when, act) => {
    const on = await setUp();
    const { browser, connection, ended } = await on.watch();
    await act(on, connection);
    expect(await ended).toEqual({ reason: 'closed' });
    expect([browser.ended, connection.state]).toEqual(['ended', 'closed']);
  });

  it('comes with a signal, also one that has fired, and does not wait for a stalled browser', async () => {
    const { watch, clock } = await setUp();
    const leaving = new AbortController();
    const { browser, ended } = await watch({ signal: leaving.signal });
    browser.isStalled = true;
    leaving.abort();
    expect(await ended).toEqual({ reason: 'closed' });
    expect(browser.ended).toBe('ended');
    await clock.advance(5_000);
    expect(browser.ended).toBe('destroyed');
    const late = await watch({ signal: leaving.signal });
    expect(await late.ended).toEqual({ reason: 'closed' });
    expect(late.browser.text).toBe('');
  });

  it('comes at once on a connection that is closed already, or for a browser that has gone', async () => {
    const { watch, manager, soon, userId } = await setUp();
    const closed = await soon(manager.connect({ userId }));
    await closed.close();
    expect(await new MemoryBrowser().stream(closed)).toEqual({ reason: 'closed' });
    const { connection, ended } = await watch({}, (given) => given);
    await connection.close();
    expect(await ended).toEqual({ reason: 'closed' });
  });
});

describe('wrong arguments', () => {
  it.each([
    [{ types: ['nothing at all'] }, /types/],
    [{ rooms: ['lobby'] }, /room/],
    [{ heartbeatMs: 1 }, /heartbeatMs/],
    [{ lastEventID: '$a' }, /there is no option `lastEventID`/],
  ])('are INVALID_OPTIONS, and the connection is closed: %j', async (options, message) => {
    const { manager, soon, userId } = await setUp();
    const connections = [await soon(manager.connect({ userId })), await soon(manager.connect({ userId }))] as const;
    const expected = expect.objectContaining({ code: 'INVALID_OPTIONS', message: expect.stringMatching(message) });
    await expect(pipeToSse(connections[0], {} as never, options as never)).rejects.toEqual(expected);
    expect(() => sseResponse(connections[1], options as never)).toThrow(expected);
    expect(connections.map(({ state }) => state)).toEqual(['closed', 'closed']);
  });

  it('are told apart: connection and response', async () => {
    const { manager, soon, userId } = await setUp();
    const connection = await soon(manager.connect({ userId }));
    await expect(pipeToSse(connection, {} as never)).rejects.toThrow(/expected `response` to be/);
    await expect(pipeToSse(undefined as never, {} as never)).rejects.toThrow(/expected `connection` to be/);
    expect(() => sseResponse({} as never)).toThrow(/expected `connection` to be/);
  });
});
