import { afterEach, describe, expect, it } from 'vitest';
import { MatrixClientManager, memoryStorage } from '../../src/index.js';
import type { Storage } from '../../src/index.js';
import { FakeHomeserver, ManualClock } from '../../src/testing/index.js';

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});

const SEND = '/rooms/{roomId}/send/{eventType}/{txnId}';

function setUp() {
  const clock = new ManualClock();
  const fake = new FakeHomeserver({ clock });
  open.push(fake);
  const storage = memoryStorage();
  const alice = fake.createUser({ username: 'alice' });
  const rooms = [fake.createRoom({ creator: alice.userId }), fake.createRoom({ creator: alice.userId })] as const;
  const makeManager = (on: Storage = storage): MatrixClientManager => {
    const manager = new MatrixClientManager({ homeserverUrl: fake.baseUrl, fetch: fake.fetch, clock, storage: on });
    open.push(manager);
    return manager;
  };
  const texts = (roomId: string): unknown[] =>
    fake.events(roomId).flatMap(({ type, content }) => (type === 'm.room.message' ? [content['body']] : []));
  return { clock, fake, storage, alice, rooms, makeManager, texts };
}

describe('a message sent with durable: true', () => {
  it('is kept through an outage and a restart, and posted once, in order', async () => {
    const { clock, fake, storage, alice, rooms, makeManager, texts } = setUp();
    const [roomId] = rooms;
    await storage.setCredentials(alice);
    const first = makeManager();
    const mend = fake.faults.status({ endpoint: SEND }, { status: 503 });
    const sends = ['one', 'two'].map((text) =>
      first
        .sendMessage({ userId: alice.userId, roomId, text, txnId: text, durable: true })
        .catch((error: unknown) => error),
    );
    await clock.advance(300_000);
    expect(await first.listSends()).toMatchObject([
      { userId: alice.userId, roomId, txnId: 'one', state: 'queued', content: { body: 'one' } },
      { txnId: 'two', state: 'queued' },
    ]);
    const closing = first.shutdown();
    await clock.advance(60_000);
    await closing;
    expect(await Promise.all(sends)).toMatchObject([{ code: 'MANAGER_CLOSED' }, { code: 'MANAGER_CLOSED' }]);
    mend();

    const second = makeManager();
    await clock.advance(10_000);
    expect(texts(roomId)).toEqual(['one', 'two']);
    expect(await second.listSends()).toEqual([]);
    expect(await second.listSends({ state: 'sent' })).toMatchObject([{ txnId: 'one' }, { txnId: 'two' }]);
    const again = second.sendMessage({ userId: alice.userId, roomId, text: 'one', txnId: 'one', durable: true });
    expect(await again).toEqual({
      eventId: fake.events(roomId).find(({ content }) => content['body'] === 'one')?.eventId,
    });
    expect(texts(roomId)).toEqual(['one', 'two']);
    expect(second.hasClient(alice.userId)).toBe(false);
  });

  it('is posted once when the answer was lost', async () => {
    const { clock, fake, storage, alice, rooms, makeManager, texts } = setUp();
    await storage.setCredentials(alice);
    fake.faults.dropAfter({ endpoint: SEND, times: 2 });
    const manager = makeManager();
    const sending = manager.sendMessage({ userId: alice.userId, roomId: rooms[0], text: 'once', durable: true });
    await clock.advance(60_000);
    await sending;
    expect(texts(rooms[0])).toEqual(['once']);
  });

  it('is listed when the homeserver refuses it, and does not block what follows', async () => {
    const { fake, storage, alice, rooms, makeManager, texts } = setUp();
    await storage.setCredentials(alice);
    const manager = makeManager();
    fake.faults.status({ endpoint: SEND, times: 1 }, { status: 403, errcode: 'M_FORBIDDEN' });
    const send = (text: string): Promise<unknown> =>
      manager
        .sendMessage({ userId: alice.userId, roomId: rooms[0], text, txnId: text, durable: true })
        .catch((error: unknown) => error);
    const [refused, sent] = await Promise.all([send('no'), send('yes')]);
    expect(refused).toMatchObject({ code: 'FORBIDDEN' });
    expect(sent).toMatchObject({ eventId: expect.any(String) as string });
    expect(await manager.listSends({ userId: alice.userId, state: 'failed' })).toMatchObject([
      { txnId: 'no', error: { code: 'FORBIDDEN' }, content: { body: 'no' } },
    ]);
    await send('no');
    expect(texts(rooms[0])).toEqual(['yes', 'no']);
    expect(await manager.listSends({ state: 'failed' })).toEqual([]);
    await manager.discardSend(alice.userId, 'no');
    expect(await manager.listSends({ state: 'sent' })).toMatchObject([{ txnId: 'yes' }]);
  });

  it('waits for its room’s rate limit only', async () => {
    const { clock, fake, storage, alice, rooms, makeManager, texts } = setUp();
    await storage.setCredentials(alice);
    const manager = makeManager();
    const path = new RegExp(encodeURIComponent(rooms[0]).replaceAll('.', '\\.'));
    fake.faults.rateLimit({ path, times: 1 }, { retryAfterMs: 300_000 });
    const limited = manager.sendMessage({ userId: alice.userId, roomId: rooms[0], text: 'later', durable: true });
    await manager.sendMessage({ userId: alice.userId, roomId: rooms[1], text: 'now', durable: true });
    expect(texts(rooms[1])).toEqual(['now']);
    await clock.advance(299_000);
    expect(texts(rooms[0])).toEqual([]);
    await clock.advance(31_000); // up to a tenth more, so that not all come back at once
    await limited;
    expect(texts(rooms[0])).toEqual(['later']);
  });

  it('is withdrawn by its signal', async () => {
    const { clock, fake, storage, alice, rooms, makeManager, texts } = setUp();
    await storage.setCredentials(alice);
    const manager = makeManager();
    const mend = fake.faults.status({ endpoint: SEND }, { status: 503 });
    const controller = new AbortController();
    const message = { userId: alice.userId, roomId: rooms[0], text: 'never mind', durable: true };
    const sending = manager.sendMessage({ ...message, signal: controller.signal }).catch((error: unknown) => error);
    await clock.advance(10_000);
    controller.abort();
    expect(await sending).toMatchObject({ code: 'ABORTED' });
    mend();
    await clock.advance(100_000);
    expect(await manager.listSends()).toEqual([]);
    expect(texts(rooms[0])).toEqual([]);
  });
});

describe('a dead letter', () => {
  it('is listed, and gone when the callback takes it on another try', async () => {
    const { clock, fake, alice, rooms, makeManager } = setUp();
    const bob = fake.createUser({ username: 'bob' });
    fake.join(rooms[0], bob.userId);
    const manager = makeManager();
    const letters: unknown[] = [];
    manager.on('deadLetter', (letter) => letters.push(letter));
    let broken = true;
    const got: string[] = [];
    const fine: string[] = [];
    await manager.startClient({
      ...bob,
      callbacks: [
        (event) => {
          if (event.type !== 'message') return;
          if (broken) throw new Error('database is down');
          got.push(event.eventId);
        },
        (event) => void (event.type === 'message' && fine.push(event.eventId)),
      ],
    });
    const eventId = fake.sendMessage(rooms[0], alice.userId, 'lost?');
    await clock.advance(60_000);
    expect(letters).toMatchObject([{ userId: bob.userId, event: { eventId }, error: { message: 'database is down' } }]);
    expect(await manager.deadLetters(bob.userId)).toMatchObject([
      {
        id: eventId,
        attempts: 3,
        error: { message: 'database is down' },
        event: { eventId, content: { body: 'lost?' } },
      },
    ]);
    const retrying = manager.retryDeadLetter(bob.userId, eventId);
    await clock.advance(60_000);
    expect(await retrying).toBe(false);
    expect(await manager.deadLetters(bob.userId)).toHaveLength(1);
    broken = false;
    expect(await manager.retryDeadLetter(bob.userId, eventId)).toBe(true);
    expect(await manager.deadLetters(bob.userId)).toEqual([]);
    expect(got).toEqual([eventId]);
    expect(fine).toEqual([eventId]);
    expect(await manager.retryDeadLetter(bob.userId, eventId)).toBe(false);
  });
});
