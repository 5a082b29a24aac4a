import { afterEach, describe, expect, it } from 'vitest';
import { MatrixClientManager } from '../../src/index.js';
import { fetchTransport } from '../../src/http/fetch-transport.js';
import { Session } from '../../src/http/session.js';
import { ReceiptSender } from '../../src/ephemeral/receipt-sender.js';
import { TypingNotifier } from '../../src/ephemeral/typing-notifier.js';
import { FakeHomeserver, ManualClock } from '../../src/testing/index.js';
import { json } from '../support/scripted-fetch.js';
import { testHomeserver } from '../support/context.js';

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});

const TYPING = '/rooms/{roomId}/typing/{userId}';
const RECEIPT = '/rooms/{roomId}/receipt/{receiptType}/{eventId}';

async function setUp() {
  const clock = new ManualClock();
  const fake = new FakeHomeserver({ clock });
  const manager = new MatrixClientManager({ homeserverUrl: fake.baseUrl, fetch: fake.fetch, clock });
  open.push(fake, manager);
  const alice = fake.createUser({ username: 'alice' });
  const bob = fake.createUser({ username: 'bob' });
  const roomId = fake.createRoom({ creator: bob.userId, members: [alice.userId] });
  const eventIds = ['one', 'two', 'three'].map((text) => fake.sendMessage(roomId, bob.userId, text));
  await manager.startClient(alice);
  const { userId } = alice;
  return {
    clock,
    fake,
    manager,
    bob,
    userId,
    roomId,
    eventIds,
    typing: (typing: boolean, timeoutMs = 20_000) => manager.sendTyping({ userId, roomId, typing, timeoutMs }),
    read: (eventId: string, isPrivate = false) =>
      manager.sendReadReceipt({ userId, roomId, eventId, private: isPrivate }),
  };
}

describe('typing', () => {
  it('is not sent again while it stands, and is renewed before it lapses', async () => {
    const { typing, fake, clock } = await setUp();
    await Promise.all([typing(true), typing(true), typing(true)]);
    await clock.advance(10_000);
    await typing(true);
    expect(fake.countRequests(TYPING)).toBe(1);
    await clock.advance(6_000); // three quarters have passed
    await typing(true);
    expect(fake.countRequests(TYPING)).toBe(2);
    await clock.advance(30_000);
    await typing(true);
    expect(fake.countRequests(TYPING)).toBe(3);
  });

  it('is ended once, and not at all when it has lapsed by itself', async () => {
    const { typing, fake, clock } = await setUp();
    await typing(true);
    await typing(false);
    await typing(false);
    expect(fake.countRequests(TYPING)).toBe(2);
    await typing(true, 5_000);
    await clock.advance(6_000);
    await typing(false);
    expect(fake.countRequests(TYPING)).toBe(3);
  });

  it('is ended by a message, in that room only', async () => {
    const { typing, fake, manager, userId, roomId, bob } = await setUp();
    const other = fake.createRoom({ creator: bob.userId, members: [userId] });
    await typing(true);
    await manager.sendTyping({ userId, roomId: other, typing: true });
    fake.clearRequests();
    await manager.sendMessage({ userId, roomId, text: 'said' });
    const sent = fake.requests.filter(({ endpoint }) => endpoint === TYPING);
    expect(sent).toHaveLength(1);
    expect(decodeURIComponent(sent[0]?.path ?? '')).toContain(roomId);
    expect(sent[0]?.body).toMatchObject({ typing: false });
    await manager.sendMessage({ userId, roomId, text: 'more' });
    expect(fake.countRequests(TYPING)).toBe(1);
  });

  it('does not make a message fail when it cannot be ended', async () => {
    const { typing, fake, manager, userId, roomId, clock } = await setUp();
    await typing(true);
    fake.faults.status({ endpoint: TYPING }, { status: 500 });
    const sending = manager.sendMessage({ userId, roomId, text: 'said' });
    await clock.advance(60_000);
    expect(await sending).toMatchObject({ eventId: expect.any(String) as string });
  });

  it('is sent again after a failure, since what stands is unknown then', async () => {
    const { typing, fake } = await setUp();
    fake.faults.status({ endpoint: TYPING, times: 1 }, { status: 403, errcode: 'M_FORBIDDEN' });
    await expect(typing(true)).rejects.toMatchObject({ code: 'FORBIDDEN' });
    await typing(true);
    expect(fake.countRequests(TYPING)).toBe(2);
  });
});

it('one’s own typing is not echoed to one’s callbacks, and others see it', async () => {
  const { typing, fake, manager, bob, userId, roomId, clock } = await setUp();
  const told: Record<string, readonly string[][]> = {};
  const listen = (user: string): void => {
    told[user] = [];
    manager.addCallback(user, (event) => {
      if (event.type === 'typing') told[user] = [...(told[user] ?? []), [...event.userIds]];
    });
  };
  listen(userId);
  listen(bob.userId);
  await manager.startClient(bob);
  await typing(true);
  await clock.advance(1_000);
  fake.setTyping(roomId, bob.userId, true);
  await clock.advance(1_000);
  await typing(false);
  await clock.advance(1_000);
  expect(told).toEqual({ [userId]: [[bob.userId]], [bob.userId]: [[userId], []] });
});

describe('a typing notification that is tried again', () => {
  it('does not overtake a newer one', async () => {
    const { typing, fake, clock } = await setUp();
    fake.faults.status({ endpoint: TYPING, times: 1 }, { status: 503 });
    const began = typing(true);
    await clock.advance(10);
    const ended = typing(false);
    await clock.advance(60_000);
    await Promise.all([began, ended]);
    const bodies = fake.requests.flatMap(({ endpoint, body }) => (endpoint === TYPING ? [body] : []));
    expect(bodies).toMatchObject([{ typing: true }, { typing: false }]);
  });

  it('is waited for while a try is under way, and given up then', async () => {
    const { typing, fake, clock } = await setUp();
    fake.faults.latency({ endpoint: TYPING, times: 1 }, 5_000);
    const began = typing(true);
    await clock.advance(10);
    const rest = [typing(false), typing(true), typing(false)];
    expect(fake.countRequests(TYPING)).toBe(1);
    await clock.advance(60_000);
    await Promise.all([began, ...rest]);
    const bodies = fake.requests.flatMap(({ endpoint, body }) => (endpoint === TYPING ? [body] : []));
    expect(bodies).toMatchObject([{ typing: true }, { typing: false }]);
  });

  it('ends with the signal of its caller while it waits for its turn', async () => {
    const { fake, clock, manager, userId, roomId } = await setUp();
    fake.faults.hang({ endpoint: TYPING });
    const began = manager.sendTyping({ userId, roomId, typing: true }).catch(() => {});
    await clock.advance(10);
    const controller = new AbortController();
    const ending = manager.sendTyping({ userId, roomId, typing: false, signal: controller.signal });
    await clock.advance(10);
    controller.abort();
    await expect(ending).rejects.toMatchObject({ code: 'ABORTED' });
    fake.faults.clear();
    await clock.advance(120_000);
    await began;
  });
});

describe('typing notifications and receipts of very many users and rooms', () => {
  it('are kept up to a bound, and sent once more beyond it', async () => {
    let requests = 0;
    const connections = fetchTransport(async () => {
      requests++;
      return json({});
    }).open();
    const context = testHomeserver({ connections, requestTimeoutMs: 1_000 });
    const { signal } = new AbortController();
    const notifier = new TypingNotifier(context, signal, 20);
    const receipts = new ReceiptSender(context.http, 20);
    const session = new Session('@a:hs.test', { userId: '@a:hs.test', accessToken: 'x', deviceId: 'X' });
    const send = async (room: number): Promise<void> => {
      const roomId = `!${room}:hs.test`;
      await notifier.set(session, { roomId, typing: true, timeoutMs: 600_000 }, signal);
      await receipts.send({ session }, { roomId, eventId: '$e' }, signal);
    };
    for (let room = 0; room <= 20; room++) await send(room);
    const before = requests;
    await send(20);
    expect(requests - before).toBe(0);
    await send(0);
    expect(requests - before).toBe(2);
  });
});

describe('read receipts', () => {
  it('move forward only', async () => {
    const { read, fake, eventIds } = await setUp();
    const [one, two, three] = eventIds as [string, string, string];
    await read(two);
    await read(one);
    await read(two);
    expect(fake.countRequests(RECEIPT)).toBe(1);
    await read(three);
    expect(fake.countRequests(RECEIPT)).toBe(2);
  });

  it('are public or private, each moving by itself', async () => {
    const { read, fake, eventIds } = await setUp();
    const [one, , three] = eventIds as [string, string, string];
    await read(three, true);
    await read(one);
    const types = fake.requests.flatMap(({ endpoint, path }) => (endpoint === RECEIPT ? [path.split('/').at(-2)] : []));
    expect(types).toEqual(['m.read.private', 'm.read']);
  });

  it('are sent again when the homeserver did not take them', async () => {
    const { read, fake, eventIds } = await setUp();
    fake.faults.status({ endpoint: RECEIPT, times: 1 }, { status: 404, errcode: 'M_NOT_FOUND' });
    await expect(read(eventIds[0] as string)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await read(eventIds[0] as string);
    expect(fake.countRequests(RECEIPT)).toBe(2);
  });
});

describe('bad input to a send', () => {
  const circle: Record<string, unknown> = {};
  circle['again'] = circle;
  const bad: [string, Record<string, unknown>][] = [
    ['neither text nor content', {}],
    ['both', { text: 'x', content: {} }],
    ['html alone', { html: '<b>x</b>' }],
    ['a text that is no string', { text: 7 }],
    ['a content that is a list', { content: [] }],
    ['a fraction', { content: { body: 'x', size: 1.5 } }],
    ['a number beyond 2^53', { content: { n: [2 ** 53] } }],
    ['a function', { content: { f: () => {} } }],
    ['a circle', { content: circle }],
    ['too much', { text: 'x'.repeat(70_000) }],
    ['a bad room id', { text: 'x', roomId: '#alias:hs.test' }],
    ['an empty txnId', { text: 'x', txnId: '' }],
    ['an empty type', { text: 'x', type: '' }],
    ['a signal that is none', { text: 'x', signal: {} }],
    ['a durable that is none', { text: 'x', durable: 'yes' }],
  ];
  it.each(bad)('is refused before any request: %s', async (_what, options) => {
    const { manager, fake, userId, roomId } = await setUp();
    fake.clearRequests();
    const sending = manager.sendMessage({ userId, roomId, ...options });
    await expect(sending).rejects.toMatchObject({ code: 'INVALID_OPTIONS' });
    expect(fake.countRequests('/rooms/{roomId}/send/{eventType}/{txnId}')).toBe(0);
  });
});
