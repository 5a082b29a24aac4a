import { afterEach, describe, expect, it } from 'vitest';
import { fetchTransport } from '../../src/http/fetch-transport.js';
import { MatrixClientManager, memoryStorage } from '../../src/index.js';
import type { Transport } from '../../src/index.js';
import { FakeHomeserver, ManualClock, MemoryLogger } from '../../src/testing/index.js';

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});

describe('a shutdown', () => {
  it.each(['/messages', '/typing', '/receipt', '/send/', '/context'])(
    'ends calls that a hanging %s holds up, with MANAGER_CLOSED',
    async (part) => {
      const clock = new ManualClock();
      const fake = new FakeHomeserver({ clock });
      const manager = new MatrixClientManager({ homeserverUrl: fake.baseUrl, fetch: fake.fetch, clock });
      open.push(fake, manager);
      const alice = fake.createUser({ username: 'alice' });
      const roomId = fake.createRoom({ creator: alice.userId });
      const eventId = fake.sendMessage(roomId, alice.userId, 'hello');
      const { userId } = alice;
      await manager.startClient(alice);
      const forever = manager.withClient(userId, () => new Promise(() => {}));
      fake.faults.hang({ path: new RegExp(part) });
      const calls = [
        manager.getRoomMessages({ roomId, userId, limit: 50 }),
        manager.sendTyping({ userId, roomId, typing: false }), // the fake would keep a timer for a typing user
        manager.sendReadReceipt({ userId, roomId, eventId }),
        manager.sendMessage({ userId, roomId, text: 'bye' }),
        forever,
      ].map((call) => call.then(() => 'done').catch((error: unknown) => (error as { code: string }).code));
      await clock.advance(10);
      const closing = manager.shutdown();
      await clock.advance(10_000); // stopTimeoutMs, which sends under way are given
      await closing;
      const ends = await Promise.all(calls);
      expect(ends.every((end) => end === 'done' || end === 'MANAGER_CLOSED')).toBe(true);
      expect(ends.at(-1)).toBe('MANAGER_CLOSED');
      expect(fake.inFlight).toBe(0);
      expect(clock.pendingTimers).toBe(0);
    },
  );

  const hang = (): Promise<never> => new Promise(() => {});
  const fail = (what: string) => async (): Promise<never> => {
    throw new Error(`${what} broke`);
  };

  function setUp(broken: { transport?: () => Promise<void>; storage?: () => Promise<void> }) {
    const clock = new ManualClock();
    const fake = new FakeHomeserver({ clock });
    const logger = new MemoryLogger();
    const closed: string[] = [];
    const connections = fetchTransport(fake.fetch).open();
    const transport: Transport = {
      open: () => ({
        fetch: connections.fetch,
        send: (request) => connections.send(request),
        close: async () => {
          closed.push('transport');
          await broken.transport?.();
        },
      }),
    };
    const storage = memoryStorage();
    storage.close = async () => {
      closed.push('storage');
      await broken.storage?.();
    };
    const manager = new MatrixClientManager({ homeserverUrl: fake.baseUrl, transport, clock, logger, storage });
    open.push(fake);
    return { clock, fake, logger, closed, manager };
  }

  it.each([
    ['a transport that fails', { transport: fail('transport') }, /transport broke/],
    ['a transport that hangs', { transport: hang }, /closing the transport took longer than 30000 ms/],
    [
      'a transport that throws',
      {
        transport: () => {
          throw new Error('transport broke');
        },
      },
      /transport broke/,
    ],
    ['a storage that fails', { storage: fail('storage') }, /storage broke/],
    ['a storage that hangs', { storage: hang }, /closing the storage took longer/],
  ])('takes every step over %s, and says what failed', async (_what, broken, message) => {
    const { clock, fake, logger, closed, manager } = setUp(broken);
    await manager.startClient(fake.createUser({ username: 'alice' }));
    const closing = manager.shutdown();
    const again = manager[Symbol.asyncDispose]();
    const ends = [closing, again].map((end) => end.catch((error: unknown) => error));
    await clock.advance(60_000);
    const failures = await Promise.all(ends);
    expect(failures[0]).toMatchObject({ message: expect.stringMatching(message) as string });
    expect(failures[1]).toBe(failures[0]);
    expect(closed).toEqual(['transport', 'storage']);
    expect(JSON.stringify(logger.entries)).toContain('shutting down');
    expect(fake.inFlight).toBe(0);
    expect(clock.pendingTimers).toBe(0);
  });

  it('tells of several failures together', async () => {
    const { clock, manager } = setUp({ transport: fail('transport'), storage: fail('storage') });
    const failure = manager.shutdown().catch((error: unknown) => error);
    await clock.advance(0);
    expect(await failure).toBeInstanceOf(AggregateError);
    expect(((await failure) as AggregateError).errors.map(String)).toEqual([
      'Error: transport broke',
      'Error: storage broke',
    ]);
  });
});
