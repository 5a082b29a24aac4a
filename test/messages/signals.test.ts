import { afterEach, describe, expect, it } from 'vitest';
import { MatrixClientManager } from '../../src/index.js';
import { FakeHomeserver, ManualClock } from '../../src/testing/index.js';

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
