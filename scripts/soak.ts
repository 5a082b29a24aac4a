/**
 * `npm run soak [-- --minutes 30 | --quick] [--seed 1]`: an application with 50 users on a homeserver in another
 * process that fails at random. Every message has to arrive once and in order, and nothing may grow: heap, sockets,
 * timers, open requests. Exits with 1 otherwise.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { MatrixClientManager, sqliteStorage } from '../src/index.js';
import { Random } from '../test/crash/random.js';
import { Application } from './soak/application.js';
import type { SoakUser } from './soak/application.js';
import { troubleMaker } from './soak/faults.js';
import { SoakHomeserver } from './soak/homeserver.js';
import { BEFORE_START, Ledger } from './soak/ledger.js';
import { judge, takeSample } from './soak/sampler.js';
import type { Sample } from './soak/sampler.js';

const USERS = 50;
const ROOMS = 20;
const MEMBERS = 6;
const TIMELINE_LIMIT = 20;
const CALM_MS = 20_000;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { minutes: { type: 'string' }, quick: { type: 'boolean' }, seed: { type: 'string' } },
  });
  const minutes = values.quick ? 2 : Number(values.minutes ?? 30);
  const seed = Number(values.seed ?? Date.now() % 1_000_000);
  if (!(minutes > 0) || !Number.isInteger(seed)) throw new Error('expected --minutes above 0 and a whole --seed');
  console.log(`soak of ${minutes} minutes, seed ${seed}`);
  const folder = await mkdtemp(join(tmpdir(), 'soak-'));
  try {
    await using homeserver = await SoakHomeserver.start();
    const violations = await soak(homeserver, folder, minutes * 60_000, new Random(seed));
    console.log(violations.length === 0 ? 'PASSED' : `FAILED with ${violations.length} violations`);
    for (const violation of violations.slice(0, 20)) console.log(`  ${violation}`);
    process.exitCode = violations.length === 0 ? 0 : 1;
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function soak(homeserver: SoakHomeserver, folder: string, runMs: number, random: Random): Promise<string[]> {
  const quick = runMs < 300_000;
  const sampleEveryMs = quick ? 5_000 : 10_000;
  const manager = new MatrixClientManager({
    homeserverUrl: homeserver.homeserverUrl,
    admin: homeserver.admin,
    storage: sqliteStorage({ path: join(folder, 'soak.sqlite'), secret: 'a secret of the soak test' }),
    timelineLimit: TIMELINE_LIMIT,
    requestTimeoutMs: 5_000,
    pollTimeoutMs: 10_000,
    callbackRetryDelayMs: 100,
  });
  const states: Record<string, number> = {};
  manager.on('homeserverStateChanged', ({ state }) => (states[state] = (states[state] ?? 0) + 1));
  const stops: Record<string, number> = {};
  manager.on('clientStopped', ({ reason }) => (stops[reason] = (stops[reason] ?? 0) + 1));

  const { users, members } = plan(random);
  await Promise.all(
    users.map(({ userId }) => manager.provisionUser({ username: userId.slice(1).split(':')[0] ?? '' })),
  );
  const roomIds = await homeserver.makeRooms(members.map((room) => room.map((user) => users[user]?.userId ?? '')));
  await homeserver.fill(2 * TIMELINE_LIMIT, BEFORE_START);
  const ledger = new Ledger(folder);
  const application = new Application(manager, { users, roomIds }, ledger, random);
  await application.startAll();
  if (!quick) await fillMemories(homeserver);

  const end = new AbortController();
  const userIds = users.map(({ userId }) => userId);
  const trouble = troubleMaker(homeserver, userIds, random, end.signal);
  const acting = application.run(end.signal);
  const samples: Sample[] = [];
  const endsAt = Date.now() + runMs;
  while (Date.now() < endsAt) {
    await sleep(sampleEveryMs);
    const sample = await takeSample(homeserver);
    samples.push(sample);
    const { live, reconnecting } = manager.stats().clients;
    console.log(
      `${Math.round((runMs - (endsAt - Date.now())) / 1_000)} s: ${(sample.heap / 1_000_000).toFixed(2)} MB, ` +
        `${sample.sockets} sockets, ${sample.timers} timers, ${sample.openRequests} open requests, ` +
        `${live} live, ${reconnecting} reconnecting`,
    );
  }
  end.abort();
  await acting;
  const faults = await trouble;
  await homeserver.calm();
  await application.settled();
  await sleep(CALM_MS);
  const messages = await homeserver.writeHistory(ledger.historyFile);
  const { requests } = await homeserver.count();
  await manager.shutdown();
  await sleep(500);
  const left = await takeSample(homeserver);

  const { lines, violations } = judge(samples, Math.ceil(samples.length / 4));
  const checked = ledger.check(members);
  console.log('faults       ', JSON.stringify(faults));
  console.log('homeserver   ', JSON.stringify(states), 'stops', JSON.stringify(stops));
  console.log('calls        ', JSON.stringify(application.outcomes));
  console.log(
    `requests      ${requests}; messages ${messages}, deliveries ${checked.deliveries}, sends ${checked.sends}`,
  );
  for (const line of lines) console.log(line);
  console.log(`after shutdown ${left.openRequests} open requests, ${left.timers} timers`);
  violations.push(...application.violations, ...checked.violations);
  if (left.openRequests > 0) violations.push(`${left.openRequests} requests are open after the shutdown`);
  return violations;
}

/** Posts so much that what the library remembers up to a bound has reached it when the measuring begins. */
async function fillMemories(homeserver: SoakHomeserver): Promise<void> {
  for (let seconds = 0; seconds < 90; seconds++) {
    await homeserver.fill(20, 'filling');
    await sleep(1_000);
  }
}

/** Who is in which room: at random, but everybody in one at least. */
function plan(random: Random): { users: SoakUser[]; members: number[][] } {
  const members = Array.from({ length: ROOMS }, () => new Set<number>());
  for (let user = 0; user < USERS; user++) members[user % ROOMS]?.add(user);
  for (const room of members) while (room.size < MEMBERS) room.add(random.whole(0, USERS - 1));
  const users = Array.from({ length: USERS }, (_, user) => ({
    userId: `@soak${user}:hs.test`,
    rooms: members.flatMap((room, index) => (room.has(user) ? [index] : [])),
  }));
  return { users, members: members.map((room) => [...room]) };
}

await main();
