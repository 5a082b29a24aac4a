import { afterEach } from 'vitest';
import { MatrixClientManager } from '../../src/index.js';
import type { HomeserverState, MatrixClientManagerOptions } from '../../src/index.js';
import { FakeHomeserver, ManualClock } from '../../src/testing/index.js';
import type { FakeUser } from '../../src/testing/index.js';
import { advanceUntil } from '../support/advance-until.js';

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});

/** A manager with `count` users in one room, their clients live, on a homeserver whose clock stands still. */
export async function crowd(count: number, options: Partial<MatrixClientManagerOptions> = {}) {
  const clock = new ManualClock();
  const fake = new FakeHomeserver({ clock });
  const manager = new MatrixClientManager({
    homeserverUrl: fake.baseUrl,
    fetch: fake.fetch,
    clock,
    admin: fake.admin,
    startConcurrency: 50,
    ...options,
  });
  open.push(fake, manager);
  const states: HomeserverState[] = [];
  manager.on('homeserverStateChanged', (state) => states.push(state));
  const users = Array.from({ length: count }, (_, n) => fake.createUser({ username: `user${n}` }));
  const [first] = users as [FakeUser, ...FakeUser[]];
  const roomId = fake.createRoom({ creator: first.userId, members: users.slice(1).map(({ userId }) => userId) });
  for (let n = 0; n < 30; n++) fake.sendMessage(roomId, first.userId, 'old'); // more than a first sync brings
  /** Texts that came to anybody, by user. */
  const texts = new Map<string, string[]>(users.map(({ userId }) => [userId, []]));
  const starts = users.map((user) =>
    manager.startClient({
      ...user,
      callbacks: [
        (event) => {
          if (event.type === 'message') texts.get(user.userId)?.push(String(event.content.body));
        },
      ],
    }),
  );
  await advanceUntil(clock, Promise.all(starts), { stepMs: 10 });
  fake.clearRequests();
  /** How many requests come in each second that passes. */
  const requestsPerSecond = async (seconds: number): Promise<number[]> => {
    const counts: number[] = [];
    for (let second = 0; second < seconds; second++) {
      fake.clearRequests();
      await clock.advance(1_000);
      counts.push(fake.requests.length);
    }
    return counts;
  };
  const live = (): number => manager.stats().clients.live;
  return { clock, fake, manager, users, first, roomId, texts, states, requestsPerSecond, live };
}
