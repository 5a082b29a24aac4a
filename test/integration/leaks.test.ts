import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import { MatrixClientManager } from '../../src/index.js';
import { FakeHomeserver } from '../../src/testing/index.js';

const CLIENTS = 120;

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** Bytes of objects. Compiled code is left out: V8 goes on compiling for as long as functions get hotter. */
async function usedHeap(): Promise<number> {
  for (let round = 0; round < 4; round++) {
    collectGarbage();
    await new Promise((resolve) => setImmediate(resolve));
  }
  const spaces = getHeapSpaceStatistics().filter(({ space_name: name }) => !/code|trusted/.test(name));
  return spaces.reduce((sum, space) => sum + space.space_used_size, 0);
}

/** Timers and sockets by kind, as the event loop holds them. */
function resources(): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo()) counts[kind] = (counts[kind] ?? 0) + 1;
  return { timers: counts.Timeout ?? 0, sockets: counts.TCPSocketWrap ?? 0 };
}

it(`leaves no socket, timer, listener or memory behind after ${CLIENTS} clients`, async () => {
  await using fake = new FakeHomeserver();
  const homeserverUrl = await fake.listen();
  const users = Array.from({ length: CLIENTS }, (_, n) => fake.createUser({ username: `user${n}` }));
  const roomId = fake.createRoom({
    creator: users[0]?.userId ?? '',
    members: users.slice(1, 20).map(({ userId }) => userId),
  });
  const round = async (some: typeof users): Promise<void> => {
    const manager = new MatrixClientManager({ homeserverUrl, admin: fake.admin });
    const collected: WeakRef<object>[] = [];
    await Promise.all(some.map((user) => manager.startClient({ ...user, callbacks: [() => {}] })));
    for (const { userId } of some) collected.push(new WeakRef(manager.getClient(userId) as object));
    await manager.sendMessage({ userId: some[0]?.userId ?? '', roomId, text: 'hello' });
    await Promise.all(some.map(({ userId }) => manager.stopClient(userId)));
    expect(fake.inFlight).toBe(0);
    await manager.shutdown();
    await usedHeap();
    expect(collected.filter((client) => client.deref() !== undefined)).toHaveLength(0);
  };

  const timersBefore = resources().timers ?? 0;
  await round(users); // what is made once and kept is made here
  await round(users.slice(0, 50));
  fake.clearRequests();
  const heapBefore = await usedHeap();
  for (let rounds = 0; rounds < 3; rounds++) {
    await round(users);
    fake.clearRequests();
  }
  const heapAfter = await usedHeap();
  // Per client that came and went: the SDK alone kept 80 KiB where listeners stayed.
  expect((heapAfter - heapBefore) / (3 * CLIENTS)).toBeLessThan(1_000);
  expect(heapAfter / heapBefore).toBeLessThan(1.05);
  expect(resources().timers ?? 0).toBeLessThanOrEqual(timersBefore + 1);
}, 60_000);
