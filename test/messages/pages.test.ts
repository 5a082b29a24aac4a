import { afterEach, describe, expect, it } from 'vitest';
import { MatrixClientManager } from '../../src/index.js';
import type { MatrixClientManagerError } from '../../src/index.js';
import { FakeHomeserver, ManualClock } from '../../src/testing/index.js';

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});

const MESSAGES = '/rooms/{roomId}/messages';

function setUp() {
  const clock = new ManualClock();
  const fake = new FakeHomeserver({ clock });
  const alice = fake.createUser({ username: 'alice' });
  const roomId = fake.createRoom({ creator: alice.userId });
  const manager = new MatrixClientManager({
    homeserverUrl: fake.baseUrl,
    fetch: fake.fetch,
    clock,
    admin: fake.admin,
    credentials: async (userId) => (userId === alice.userId ? alice : undefined),
  });
  open.push(fake, manager);
  return { clock, fake, manager, alice, userId: alice.userId, roomId };
}

const message = (n: number) => ({
  event_id: `$${n}`,
  type: 'm.room.message',
  sender: '@alice:hs.test',
  origin_server_ts: n,
  content: { msgtype: 'm.text', body: `${n}` },
});

describe('a page from the homeserver', () => {
  /** A manager whose homeserver answers `/messages` from a script. */
  function scripted(answer: (request: number) => object) {
    const { fake, alice, roomId } = setUp();
    let requests = 0;
    const manager = new MatrixClientManager({
      homeserverUrl: fake.baseUrl,
      credentials: async () => alice,
      fetch: async (input, init) => {
        return String(input instanceof Request ? input.url : input).includes('/messages')
          ? Response.json(answer(++requests))
          : fake.fetch(input, init);
      },
    });
    open.push(manager);
    return { manager, roomId, userId: alice.userId, requests: () => requests };
  }

  it('goes on inside the call over empty chunks that have an end', async () => {
    const chunks = [{ chunk: [], end: 'a' }, { chunk: [], end: 'b' }, { chunk: [message(2), message(1)] }];
    const { manager, roomId, userId, requests } = scripted((request) => chunks[request - 1] ?? {});
    const page = await manager.getRoomMessages({ roomId, userId, limit: 10 });
    expect(page.messages.map(({ eventId }) => eventId)).toEqual(['$2', '$1']);
    expect(page).toMatchObject({ source: 'rest' });
    expect(page.end).toBeUndefined();
    expect(requests()).toBe(3);
  });

  it('ends with an error when the homeserver goes in circles', async () => {
    const { fake, manager, userId, roomId } = setUp();
    fake.faults.wrongTypes({ endpoint: MESSAGES }, { chunk: [], end: 'round' });
    const reading = manager.getRoomMessages({ roomId, userId });
    await expect(reading).rejects.toMatchObject({ code: 'INVALID_RESPONSE', roomId });
    expect(fake.countRequests(MESSAGES)).toBe(2);
  });

  it('is given short, with its cursor, when nothing wanted comes for many requests', async () => {
    const { manager, roomId, userId, requests } = scripted((request) => ({ chunk: [], end: `t${request}` }));
    const page = await manager.getRoomMessages({ roomId, userId });
    expect(page.messages).toEqual([]);
    expect(page.end).toBeTypeOf('string');
    expect(requests()).toBe(50);
  });

  const broken: [string, string, (fake: FakeHomeserver) => unknown][] = [
    ['403', 'FORBIDDEN', (fake) => fake.faults.status({ endpoint: MESSAGES }, { status: 403, errcode: 'M_FORBIDDEN' })],
    ['404', 'NOT_FOUND', (fake) => fake.faults.status({ endpoint: MESSAGES }, { status: 404, errcode: 'M_NOT_FOUND' })],
    ['500', 'HOMESERVER_UNAVAILABLE', (fake) => fake.faults.status({ endpoint: MESSAGES }, { status: 500 })],
    ['HTML', 'INVALID_RESPONSE', (fake) => fake.faults.html({ endpoint: MESSAGES })],
    ['cut JSON', 'INVALID_RESPONSE', (fake) => fake.faults.truncatedJson({ endpoint: MESSAGES })],
    ['no chunk', 'INVALID_RESPONSE', (fake) => fake.faults.wrongTypes({ endpoint: MESSAGES }, { end: 'x' })],
    ['nothing', 'TIMEOUT', (fake) => fake.faults.hang({ endpoint: MESSAGES })],
  ];
  it.each(broken)('is an error, not an empty page, when the homeserver answers %s', async (_what, code, breakIt) => {
    const { fake, manager, userId, roomId, clock } = setUp();
    breakIt(fake);
    const reading = manager.getRoomMessages({ roomId, userId }).catch((error: unknown) => error);
    await clock.advance(600_000);
    // Nobody else talks to this homeserver, so it may count as down before the last attempt.
    const error = await reading;
    const codes = code === 'TIMEOUT' ? ['TIMEOUT', 'HOMESERVER_UNAVAILABLE'] : [code];
    expect(error).toMatchObject({ roomId, userId });
    expect(codes).toContain((error as MatrixClientManagerError).code);
  });

  it('ends with its signal', async () => {
    const { fake, manager, userId, roomId, clock } = setUp();
    fake.faults.hang({ endpoint: MESSAGES });
    const controller = new AbortController();
    const { signal } = controller;
    const reading = manager.getRoomMessages({ roomId, userId, signal }).catch((error: unknown) => error);
    await clock.advance(10);
    controller.abort();
    expect(await reading).toMatchObject({ code: 'ABORTED' });
    expect(fake.inFlight).toBe(0);
    expect(clock.pendingTimers).toBe(0);
  });

  it('is read by the admin when no user is named, and only where the admin is', async () => {
    const { fake, manager, roomId, userId } = setUp();
    await expect(manager.getRoomMessages(roomId)).rejects.toMatchObject({ code: 'FORBIDDEN' });
    fake.join(roomId, fake.admin.userId);
    fake.sendMessage(roomId, userId, 'hello');
    expect((await manager.getRoomMessages(roomId)).messages).toMatchObject([{ content: { body: 'hello' } }]);
  });
});

describe('the types of a page', () => {
  it("are also prefixes like m.call.* and an application's own type without a dot", async () => {
    const { manager, roomId, userId } = setUp();
    for (const type of ['m.call.invite', 'order_update', 'm.callback.x']) {
      await manager.sendMessage({ userId, roomId, type, content: { for: type } });
    }
    const { messages } = await manager.getRoomMessages({ roomId, userId, types: ['m.call.*', 'order_update'] });
    expect(messages.map(({ eventType }) => eventType)).toEqual(['order_update', 'm.call.invite']);
  });
});

describe('bad input to a page', () => {
  const bad: [string, Record<string, unknown>, string][] = [
    ['a limit of 0', { limit: 0 }, 'INVALID_OPTIONS'],
    ['a limit of 1.5', { limit: 1.5 }, 'INVALID_OPTIONS'],
    ['a limit that is text', { limit: '5' }, 'INVALID_OPTIONS'],
    ['a limit of 1,001', { limit: 1_001 }, 'INVALID_OPTIONS'],
    ['an alias', { roomId: '#a:hs.test' }, 'INVALID_OPTIONS'],
    ['a user id without a server', { userId: 'alice' }, 'INVALID_USER_ID'],
    ['a cursor of nobody', { from: 't12-34_5' }, 'INVALID_CURSOR'],
    ['an empty cursor', { from: '' }, 'INVALID_CURSOR'],
    ['a number as cursor', { from: 7 }, 'INVALID_CURSOR'],
    ['types that mean nothing', { types: ['two words'] }, 'INVALID_OPTIONS'],
    ['an unknown user', { userId: '@nobody:hs.test' }, 'CLIENT_NOT_STARTED'],
  ];
  it.each(bad)('is refused before any request: %s', async (_what, options, code) => {
    const { fake, manager, roomId, userId } = setUp();
    const reading = manager.getRoomMessages({ roomId, userId, ...options } as never);
    await expect(reading).rejects.toMatchObject({ code });
    expect(fake.countRequests(MESSAGES)).toBe(0);
  });

  it('includes cursors of another room and cursors that were altered anywhere', async () => {
    const { fake, manager, roomId, userId } = setUp();
    for (let n = 0; n < 5; n++) fake.sendMessage(roomId, userId, `${n}`);
    const { end = '' } = await manager.getRoomMessages({ roomId, userId, limit: 2 });
    expect((await manager.getRoomMessages({ roomId, userId, limit: 2, from: end })).messages).toHaveLength(2);
    const other = fake.createRoom({ creator: userId });
    const elsewhere = manager.getRoomMessages({ roomId: other, userId, from: end });
    await expect(elsewhere).rejects.toMatchObject({ code: 'INVALID_CURSOR', roomId: other });
    for (let at = 0; at < end.length; at++) {
      const altered = end.slice(0, at) + (end[at] === 'A' ? 'B' : 'A') + end.slice(at + 1);
      const reading = manager.getRoomMessages({ roomId, userId, from: altered });
      await expect(reading).rejects.toMatchObject({ code: 'INVALID_CURSOR' });
    }
  });
});
