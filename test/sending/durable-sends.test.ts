import { afterEach, describe, expect, it } from 'vitest';
import { MatrixClientManager, MatrixClientManagerError, memoryStorage } from '../../src/index.js';
import type { MatrixClientManagerOptions, Storage } from '../../src/index.js';
import { FakeHomeserver, ManualClock, MemoryLogger } from '../../src/testing/index.js';
import { rejection } from '../support/rejection.js';

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
  const logger = new MemoryLogger();
  const makeManager = (
    on: Storage = storage,
    options: Partial<MatrixClientManagerOptions> = {},
  ): MatrixClientManager => {
    const { baseUrl: homeserverUrl, fetch } = fake;
    const manager = new MatrixClientManager({ homeserverUrl, fetch, clock, logger, storage: on, ...options });
    open.push(manager);
    return manager;
  };
  const texts = (roomId: string): unknown[] =>
    fake.events(roomId).flatMap(({ type, content }) => (type === 'm.room.message' ? [content['body']] : []));
  return { clock, fake, logger, storage, alice, rooms, makeManager, texts };
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

describe('a durable message whose user cannot send it yet', () => {
  it('is refused where no session of its user is known', async () => {
    const { alice, rooms, makeManager } = setUp();
    const manager = makeManager();
    const message = { userId: alice.userId, roomId: rooms[0], text: 'early', txnId: 'early', durable: true };
    expect(await rejection(manager.sendMessage(message))).toMatchObject({ code: 'CLIENT_NOT_STARTED' });
    expect(await manager.listSends({ state: 'failed' })).toMatchObject([{ txnId: 'early' }]);
  });

  it('of an earlier process is sent when the user has a session, and shows in health meanwhile', async () => {
    const { clock, storage, alice, rooms, makeManager, texts } = setUp();
    const content = JSON.stringify({ msgtype: 'm.text', body: 'early' });
    const early = { txnId: 'early', roomId: rooms[0], type: 'm.room.message', content, enqueuedAt: 0 };
    await storage.enqueueSend(alice.userId, early);
    const manager = makeManager();
    await clock.advance(300_000);
    expect(await manager.listSends()).toMatchObject([{ txnId: 'early', state: 'queued' }]);
    expect((await manager.checkHealth()).reasons).toEqual([
      '1 durable messages have been failing for a minute or longer',
    ]);
    await storage.setCredentials(alice);
    await clock.advance(60_000);
    expect(texts(rooms[0])).toEqual(['early']);
    expect(await manager.checkHealth()).toEqual({ status: 'ok', reasons: [] });
  });

  it('of an earlier process is sent when the storage tells of the session again', async () => {
    const { clock, storage, alice, rooms, makeManager, texts } = setUp();
    await storage.setCredentials(alice);
    const content = JSON.stringify({ msgtype: 'm.text', body: 'left' });
    const left = { txnId: 'left', roomId: rooms[0], type: 'm.room.message', content, enqueuedAt: 0 };
    await storage.enqueueSend(alice.userId, left);
    let broken = true;
    const fails = (): never => {
      throw new Error('the database is away');
    };
    makeManager(
      new Proxy(storage, {
        get: (target, name) =>
          broken && ['getCredentials', 'listSends'].includes(String(name))
            ? fails
            : (Reflect.get(target, name) as () => unknown).bind(target),
      }),
    );
    await clock.advance(300_000);
    expect(texts(rooms[0])).toEqual([]);
    broken = false;
    await clock.advance(60_000);
    expect(texts(rooms[0])).toEqual(['left']);
  });

  it('for its endless rate limit fails after sendTimeoutMs', async () => {
    const { clock, fake, storage, alice, rooms, makeManager } = setUp();
    await storage.setCredentials(alice);
    const manager = makeManager();
    fake.faults.rateLimit({ endpoint: SEND }, { retryAfterMs: 5_000 });
    const message = { userId: alice.userId, roomId: rooms[0], text: 'never', txnId: 'never', durable: true };
    const sending = manager.sendMessage(message).catch((error: unknown) => error);
    await clock.advance(700_000);
    expect(await sending).toMatchObject({ code: 'RATE_LIMITED', status: 429 });
    expect(await manager.listSends({ state: 'failed' })).toMatchObject([{ txnId: 'never' }]);
  });
});

describe('a durable message that the homeserver always answers 5xx', () => {
  /** Fails the sends of messages with these texts for good, and nothing else. */
  async function poisoned(texts: readonly string[] = ['poison']) {
    const all = setUp();
    await all.storage.setCredentials(all.alice);
    for (const text of texts) {
      all.fake.faults.status({ endpoint: SEND, path: new RegExp(`/${text}$`) }, { status: 500, errcode: 'M_UNKNOWN' });
    }
    const send = (manager: MatrixClientManager, text: string): Promise<unknown> =>
      manager
        .sendMessage({ userId: all.alice.userId, roomId: all.rooms[0], text, txnId: text, durable: true })
        .catch((error: unknown) => error);
    return { ...all, send };
  }

  it('fails after sendTimeoutMs, is listed and told, and lets the next one go', async () => {
    const { clock, alice, rooms, makeManager, texts, send } = await poisoned();
    const manager = makeManager();
    const told: unknown[] = [];
    manager.on('sendFailed', (failed) => told.push(failed));
    const [lost, next] = [send(manager, 'poison'), send(manager, 'next')];
    await clock.advance(500_000);
    expect(await manager.listSends()).toHaveLength(2);
    expect((await manager.checkHealth()).reasons.join()).toContain('1 durable messages have been failing');
    expect(manager.stats()).toMatchObject({ stalledSends: 1, givenUpSends: 0 });
    await clock.advance(200_000);
    expect(await lost).toMatchObject({ code: 'HOMESERVER_UNAVAILABLE', status: 500 });
    expect(await next).toMatchObject({ eventId: expect.any(String) as string });
    expect(texts(rooms[0])).toEqual(['next']);
    const about = { userId: alice.userId, roomId: rooms[0], txnId: 'poison' };
    expect(await manager.listSends({ state: 'failed' })).toMatchObject([{ ...about, content: { body: 'poison' } }]);
    expect(told).toMatchObject([{ ...about, error: { code: 'HOMESERVER_UNAVAILABLE' } }]);
    expect(manager.stats()).toMatchObject({ stalledSends: 0, givenUpSends: 1 });
    expect(await manager.checkHealth()).toMatchObject({
      status: 'degraded',
      reasons: [expect.stringContaining('1 durable messages were given up')],
    });
    expect(await manager.discardSend(alice.userId, 'poison')).toBe(true);
    expect(await manager.checkHealth()).toEqual({ status: 'ok', reasons: [] });
  });

  it('fails after a restart too, and is logged', async () => {
    const { clock, rooms, makeManager, texts, send, logger } = await poisoned();
    const first = makeManager();
    void send(first, 'poison');
    void send(first, 'next');
    await clock.advance(60_000);
    await Promise.all([first.shutdown(), clock.advance(60_000)]);
    const second = makeManager();
    await clock.advance(700_000);
    expect(texts(rooms[0])).toEqual(['next']);
    expect(await second.listSends({ state: 'failed' })).toMatchObject([{ txnId: 'poison' }]);
    expect(logger.entries.map(({ message }) => message).join()).toContain('a durable message failed');
  });

  it('fails while the user’s own client lives beside it', async () => {
    const { clock, alice, makeManager, send } = await poisoned();
    const manager = makeManager();
    await manager.startClient(alice);
    void send(manager, 'poison');
    await clock.advance(700_000);
    expect(await manager.listSends({ state: 'failed' })).toHaveLength(1);
  });

  it.each([403, 200])('counts a page of a proxy with %d as well', async (status) => {
    const { clock, fake, alice, rooms, makeManager, storage } = setUp();
    await storage.setCredentials(alice);
    fake.faults.html({ endpoint: SEND, path: /poison$/ }, status);
    const manager = makeManager();
    const message = { userId: alice.userId, roomId: rooms[0], text: 'x', txnId: 'poison', durable: true };
    void manager.sendMessage(message).catch(() => {});
    await clock.advance(700_000);
    expect(await manager.listSends({ state: 'failed' })).toHaveLength(1);
  });

  it('is not given up for an outage of the whole homeserver', async () => {
    const { clock, fake, alice, rooms, makeManager, texts, storage } = setUp();
    await storage.setCredentials(alice);
    const manager = makeManager();
    const mend = fake.faults.status({}, { status: 503 });
    const sending = manager.sendMessage({ userId: alice.userId, roomId: rooms[0], text: 'late', durable: true });
    await clock.advance(1_800_000);
    expect(await manager.listSends({ state: 'failed' })).toEqual([]);
    mend();
    await clock.advance(120_000);
    await sending;
    expect(texts(rooms[0])).toEqual(['late']);
  });

  it('is tried for ever where sendTimeoutMs is Infinity', async () => {
    const { clock, makeManager, send } = await poisoned();
    const manager = makeManager(undefined, { sendTimeoutMs: Infinity });
    void send(manager, 'poison');
    await clock.advance(1_800_000);
    expect(await manager.listSends()).toHaveLength(1);
  });
});

describe('discardSend', () => {
  it.each([
    ['under way', 'one'],
    ['that waits for its turn', 'two'],
  ])('ends the send of a message %s at once, and the room goes on', async (_which, txnId) => {
    const { clock, fake, alice, rooms, makeManager, texts, storage } = setUp();
    const [roomId] = rooms;
    await storage.setCredentials(alice);
    const manager = makeManager();
    const mend = fake.faults.hang({ endpoint: SEND });
    const { userId } = alice;
    const sends = new Map(
      ['one', 'two', 'three'].map((text) => [
        text,
        manager.sendMessage({ userId, roomId, text, txnId: text, durable: true }).catch((error: unknown) => error),
      ]),
    );
    await clock.advance(1_000);
    expect(await manager.discardSend(userId, txnId)).toBe(true);
    expect(await sends.get(txnId)).toMatchObject({ code: 'ABORTED' });
    mend();
    await clock.advance(60_000);
    await Promise.all(sends.values());
    expect(texts(roomId)).toEqual(['one', 'two', 'three'].filter((text) => text !== txnId));
    expect(await manager.listSends()).toEqual([]);
    expect(await manager.discardSend(userId, txnId)).toBe(false);
  });

  it('frees the queue of a message of an earlier process', async () => {
    const { clock, fake, alice, rooms, makeManager, texts, storage } = setUp();
    await storage.setCredentials(alice);
    for (const text of ['one', 'two']) {
      const content = JSON.stringify({ msgtype: 'm.text', body: text });
      await storage.enqueueSend(alice.userId, {
        txnId: text,
        roomId: rooms[0],
        type: 'm.room.message',
        content,
        enqueuedAt: clock.now(),
      });
    }
    fake.faults.status({ endpoint: SEND, path: /one$/ }, { status: 500 });
    const manager = makeManager();
    await clock.advance(30_000);
    await manager.discardSend(alice.userId, 'one');
    await clock.advance(1_000);
    expect(texts(rooms[0])).toEqual(['two']);
  });
});

describe('a durable message of an earlier version', () => {
  it.each(['{"body":"shipped \\ud83d"}', '{"body":1.5}', 'no JSON'])(
    'fails at once where no homeserver takes it: %s',
    async (content) => {
      const { clock, fake, alice, rooms, makeManager, storage } = setUp();
      await storage.setCredentials(alice);
      const about = { txnId: 'old', roomId: rooms[0], type: 'm.room.message', enqueuedAt: clock.now() };
      await storage.enqueueSend(alice.userId, { ...about, content });
      const manager = makeManager();
      await clock.advance(1_000);
      expect(await manager.listSends()).toEqual([]);
      expect(await storage.listSends({ state: 'failed' })).toMatchObject([{ txnId: 'old' }]);
      expect(fake.countRequests(SEND)).toBe(0);
    },
  );
});

describe('a storage that fails', () => {
  const failingAt = (method: keyof Storage, storage: Storage): Storage =>
    new Proxy(storage, {
      get: (target, name) => {
        if (name === method) return () => Promise.reject(new MatrixClientManagerError('STORAGE', 'the disk is full'));
        const value: unknown = Reflect.get(target, name);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });

  it('rejects every durable send of a room that waits for it, and none goes unhandled', async () => {
    const { alice, rooms, makeManager, storage } = setUp();
    await storage.setCredentials(alice);
    const full = failingAt('enqueueSend', storage);
    const unhandled: unknown[] = [];
    const note = (error: unknown): void => void unhandled.push(error);
    process.on('unhandledRejection', note);
    const manager = makeManager(full);
    const send = (text: string): Promise<unknown> =>
      manager
        .sendMessage({ userId: alice.userId, roomId: rooms[0], text, durable: true })
        .catch((error: unknown) => error);
    expect(await Promise.all([send('one'), send('two')])).toMatchObject([{ code: 'STORAGE' }, { code: 'STORAGE' }]);
    await new Promise(setImmediate);
    process.off('unhandledRejection', note);
    expect(unhandled).toEqual([]);
  });

  it('does not make a message fail that was sent', async () => {
    const { alice, rooms, makeManager, storage, texts } = setUp();
    await storage.setCredentials(alice);
    const full = failingAt('completeSend', storage);
    const manager = makeManager(full);
    const message = { userId: alice.userId, roomId: rooms[0], text: 'sent', durable: true };
    expect(await manager.sendMessage(message)).toMatchObject({ eventId: expect.any(String) as string });
    expect(texts(rooms[0])).toEqual(['sent']);
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
