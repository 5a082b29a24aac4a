import { afterEach, describe, expect, it } from 'vitest';
import { MatrixClientManager } from '../../src/index.js';
import { FakeHomeserver, ManualClock } from '../../src/testing/index.js';

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
});
