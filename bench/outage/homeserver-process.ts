// The homeserver of the benchmark, in a process of its own.
import { setTimeout as sleep } from 'node:timers/promises';
import { FakeHomeserver } from '../../src/testing/index.js';
import type { FakeUser, LoggedRequest } from '../../src/testing/index.js';
import { answerParent } from './child.js';
import { PerSecond } from './per-second.js';
import type { HomeserverAsk, HomeserverReport, Outage } from './protocol.js';

const ROOM_SIZE = 10;
const LOOK_EVERY_MS = 20;
const MAX_RECOVERY_MS = 120_000;

const fake = new FakeHomeserver();
const port = Number(new URL(await fake.listen()).port);
let users: FakeUser[] = [];
let perSecond = new PerSecond();
let outage: Outage | undefined;
let endFault = (): void => {};
/** When the outage ended, by the process's own clock; undefined while it lasts. */
let endedAt: number | undefined;
const backAfterMs = new Map<string, number>();
/** Syncs that have no answer yet. */
let outstanding: LoggedRequest[] = [];

setInterval(look, LOOK_EVERY_MS);

answerParent((ask: HomeserverAsk) => {
  if (ask.do === 'users') return makeUsers(ask.count);
  return ask.do === 'fail' ? fail(ask.outage) : recover();
});

function makeUsers(count: number): { homeserverUrl: string; users: FakeUser[] } {
  users = Array.from({ length: count }, (_, n) => fake.createUser({ username: `user${n}` }));
  for (let first = 0; first < count; first += ROOM_SIZE) {
    const [creator, ...members] = users.slice(first, first + ROOM_SIZE).map(({ userId }) => userId);
    if (creator === undefined) continue;
    const roomId = fake.createRoom({ creator, members });
    for (let n = 0; n < 20; n++) fake.sendMessage(roomId, creator, `message ${n}`);
  }
  return { homeserverUrl: fake.baseUrl, users };
}

async function fail(how: Outage): Promise<void> {
  look();
  outage = how;
  perSecond = new PerSecond();
  if (how === 'refused') return fake.close();
  endFault = fake.faults.status({}, { status: 503 });
  fake.restart(); // nobody hangs on in a long poll
}

async function recover(): Promise<HomeserverReport> {
  look();
  const { counts } = perSecond;
  if (outage === 'refused') await fake.listen({ port });
  endFault();
  endedAt = performance.now();
  while (backAfterMs.size < users.length && performance.now() - endedAt < MAX_RECOVERY_MS) await sleep(LOOK_EVERY_MS);
  return { perSecond: counts, backAfterMs: [...backAfterMs.values()] };
}

/** Counts the requests that have come, and notes who has synced. */
function look(): void {
  perSecond.count(fake.requests.length);
  outstanding.push(...fake.requests.filter(({ endpoint }) => endpoint === '/sync'));
  fake.clearRequests();
  const afterMs = endedAt === undefined ? undefined : performance.now() - endedAt;
  outstanding = outstanding.filter(({ status, userId }) => {
    if (status === undefined) return true;
    if (status === 200 && userId !== undefined && afterMs !== undefined && !backAfterMs.has(userId)) {
      backAfterMs.set(userId, afterMs);
    }
    return false;
  });
}
