import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Chronicle } from './chronicle.js';
import type { Tally } from './chronicle.js';
import type { OnceChronicle } from './once-chronicle.js';
import type { CrashHomeserver } from './homeserver.js';
import { Random } from './random.js';
import { PlainUser, RoomSender } from './room-sender.js';
import type { WorkerLine, WorkerSpec, WorkerUser } from './worker-protocol.js';
import { points } from './worker-protocol.js';
import { startWorker } from './worker-process.js';

export interface CrashRunOptions {
  readonly seed: number;
  /** How many times the worker is killed, at least. */
  readonly rounds: number;
  /** Whether clients may start with a few of their rooms. */
  readonly slidingSync: boolean;
  readonly report?: (line: string) => void;
  /** Gets every line of every worker. */
  readonly log?: ((line: string) => void) | undefined;
}

export interface CrashResult {
  readonly violations: readonly string[];
  readonly problems: readonly string[];
  readonly tally: Tally;
  readonly once: OnceChronicle;
  readonly sent: number;
  readonly kills: number;
}

const ROOMS = 4;
/** Rooms in which little is said: with them there are more than a client starts with. */
const QUIET_ROOMS = 20;
/** A run with no more deliveries has shown nothing. */
export const TOO_FEW = 20;
/** How many rounds such a run gets in addition. */
const MORE_ROUNDS = 10;
/** Without a line from the worker for as long, what is missing will not come. */
const SILENCE_MS = 30_000;

/**
 * New users and rooms, messages all the time, and a worker that is killed `rounds` times and then left to finish.
 * Nothing may be missing, out of order, or repeated once it was recorded as handled.
 */
export async function crashRun(homeserver: CrashHomeserver, options: CrashRunOptions): Promise<CrashResult> {
  const { seed, rounds, slidingSync, report = () => {}, log } = options;
  const random = new Random(seed);
  const folder = await mkdtemp(join(tmpdir(), 'crash-'));
  const world = await makeWorld(homeserver, random, seed);
  const chronicle = new Chronicle(world.users, world.senders, log);
  const chaos = new Chaos(homeserver, world, random);
  const spec = (round: number): WorkerSpec => ({
    homeserverUrl: homeserver.homeserverUrl,
    admin: homeserver.admin,
    path: join(folder, 'storage.sqlite'),
    users: world.users,
    slowRoom: world.senders[0]?.roomId ?? '',
    timelineLimit: homeserver.command ? 50 : 5,
    gapFillLimit: chaos.gapFillLimit,
    verbose: log !== undefined,
    slidingSync,
    idleTimeoutMs: round === rounds ? 60_000 : random.pick([400, 900, 60_000]),
  });
  let kills = 0;
  try {
    for (const sender of world.senders) sender.start();
    // Chance may kill each life before its clients have started: such a run goes on, because it has shown nothing yet.
    while (kills < rounds || (chronicle.tally.delivered <= TOO_FEW && kills < rounds + MORE_ROUNDS)) {
      const how = await oneLife(spec(kills), chronicle, chaos, random, kills === 0);
      kills++;
      report(`round ${kills}: ${how}; ${chronicle.tally.delivered} delivered`);
      if (chronicle.violations.length > 0) break;
    }
    await chaos.end();
    await Promise.all(world.senders.map((sender) => sender.stop()));
    if (chronicle.violations.length === 0) await lastLife(spec(rounds), chronicle);
  } finally {
    await Promise.all(world.senders.map((sender) => sender.stop()));
    await rm(folder, { recursive: true, force: true });
  }
  const sent = world.senders.reduce((sum, { begun }) => sum + begun, 0);
  return {
    violations: chronicle.violations,
    problems: chronicle.problems,
    tally: chronicle.tally,
    once: chronicle.once,
    sent,
    kills,
  };
}

interface World {
  readonly users: readonly WorkerUser[];
  readonly senders: readonly RoomSender[];
}

/** Three users in the same rooms, and somebody who talks in all of them. */
async function makeWorld(homeserver: CrashHomeserver, random: Random, seed: number): Promise<World> {
  const { homeserverUrl, admin } = homeserver;
  const serverName = admin.userId.slice(admin.userId.indexOf(':') + 1);
  const root = new PlainUser(homeserverUrl, admin.userId, admin.accessToken);
  const name = `crash-${seed}-${process.pid}-${Math.floor(performance.now())}`;
  const make = async (username: string): Promise<PlainUser> => {
    const userId = `@${username}:${serverName}`;
    await root.request('PUT', `/_synapse/admin/v2/users/${encodeURIComponent(userId)}`, { password: `${name}-secret` });
    const login = await root.request('POST', '/_matrix/client/v3/login', {
      type: 'm.login.password',
      identifier: { type: 'm.id.user', user: userId },
      password: `${name}-secret`,
    });
    return new PlainUser(homeserverUrl, userId, String(login['access_token']));
  };
  const speaker = await make(`${name}-speaker`);
  const names = [0, 1, 2].map((index) => `${name}-${index}`);
  const members = await Promise.all(names.map((username) => make(username)));
  const rooms: string[] = [];
  for (let index = 0; index < ROOMS + QUIET_ROOMS; index++) {
    const room = await speaker.request('POST', '/_matrix/client/v3/createRoom', { preset: 'public_chat' });
    rooms.push(String(room['room_id']));
    const path = `/_matrix/client/v3/join/${encodeURIComponent(rooms[index] ?? '')}`;
    await Promise.all(members.map((member) => member.request('POST', path)));
  }
  const [slow = '', second = ''] = rooms;
  const pause = homeserver.command ? 1 : 3;
  return {
    users: members.map(({ userId }, index) => ({
      username: names[index] ?? '',
      userId,
      // The second user has two callbacks: one that gets ahead of the other.
      callbacks: index === 1 ? [{}, { rooms: [slow, second] }] : [{}],
    })),
    senders: rooms.map((roomId, index) => {
      return new RoomSender(
        speaker,
        roomId,
        () =>
          pause *
          (index >= ROOMS ? random.whole(500, 4_000) : index === 0 ? random.whole(60, 110) : random.whole(10, 45)),
      );
    }),
  };
}

/** What goes wrong around the workers. */
class Chaos {
  readonly gapFillLimit: number;
  readonly #homeserver: CrashHomeserver;
  readonly #world: World;
  readonly #random: Random;
  #restarting: Promise<void> = Promise.resolve();

  constructor(homeserver: CrashHomeserver, world: World, random: Random) {
    this.#homeserver = homeserver;
    this.#world = world;
    this.#random = random;
    this.gapFillLimit = homeserver.command ? 300 : 150;
  }

  /** Before a life, while the worker is dead. Returns what it has done, for the report. */
  async before(): Promise<string> {
    const random = this.#random;
    const done: string[] = [];
    const { command } = this.#homeserver;
    if (random.chance(0.5)) {
      const limit = random.whole(1, 5);
      const omitLimited = random.chance(0.3);
      command?.({ do: 'limit', limit, omitLimited });
      if (command) done.push(`limit ${limit}${omitLimited ? ' unsaid' : ''}`);
    } else command?.({ do: 'limit', limit: 1_000, omitLimited: false });
    command?.({ do: 'stale', stale: random.chance(0.3) });
    command?.({ do: 'slowHistory', ms: random.pick([0, 0, 30, 120]) });
    command?.({ do: 'failing', probability: random.pick([0, 0, 0.15]) });
    const burst = random.pick(command ? [0, 0, 0, 40, 150, 420] : [0, 0, 0, 20, 60, 190]);
    if (burst > 0) {
      random.pick(this.#world.senders).burst(burst);
      done.push(`burst ${burst}`);
    }
    if (random.chance(0.2)) done.push(await this.#killTokens());
    await sleep(random.whole(0, 200));
    return done.join(', ');
  }

  /** During a life. */
  during(): void {
    const random = this.#random;
    if (random.chance(0.15)) void this.#killTokens();
    if (random.chance(this.#homeserver.command ? 0.25 : 0.15)) this.#restarting = this.#homeserver.restart();
  }

  async end(): Promise<void> {
    const { command } = this.#homeserver;
    await this.#restarting;
    command?.({ do: 'limit', limit: 1_000, omitLimited: false });
    command?.({ do: 'stale', stale: false });
    command?.({ do: 'slowHistory', ms: 0 });
  }

  async #killTokens(): Promise<string> {
    const { userId } = this.#random.pick(this.#world.users);
    const { command, homeserverUrl, admin } = this.#homeserver;
    if (command) {
      command({ do: 'killTokens', userId });
      return 'tokens killed';
    }
    await this.#restarting;
    const root = new PlainUser(homeserverUrl, admin.userId, admin.accessToken);
    const path = `/_synapse/admin/v2/users/${encodeURIComponent(userId)}/devices`;
    const { devices } = (await root.request('GET', path)) as { devices: { device_id: string }[] };
    for (const { device_id: id } of devices) await root.request('DELETE', `${path}/${encodeURIComponent(id)}`);
    return 'devices deleted';
  }
}

/** Starts a worker, kills it at a moment drawn by lot, and waits until all that it told has been read. */
async function oneLife(
  plain: WorkerSpec,
  chronicle: Chronicle,
  chaos: Chaos,
  random: Random,
  isFirst: boolean,
): Promise<string> {
  const done = await chaos.before();
  const way = random.pick(['boot', 'time', 'time', 'time', 'point', 'point', 'point'] as const);
  // Of a first life the first moments are worth most: all its rooms are new.
  const point = random.pick(isFirst ? (['sync', 'synced', 'commit', 'committed'] as const) : points);
  const kill = { point, count: random.pick(isFirst ? [4, 8, 12, 16, 24] : [1, 1, 2, 3, random.whole(4, 40)]) };
  const stopAtMessages = random.chance(0.25) ? { stopAtMessages: random.whole(1, 6) } : {};
  const lifeMs =
    way === 'point' ? 4_000 : random.pick([random.whole(0, 60), random.whole(0, 900), random.whole(500, 2_500)]);
  const bootMs = random.whole(0, 1_200);
  const ready = Promise.withResolvers<void>();
  const onLine = (line: WorkerLine): void => {
    if (line.kind === 'ready') ready.resolve();
    chronicle.add(line);
  };
  const worker = startWorker({ ...plain, ...stopAtMessages, ...(way === 'point' && { kill }) }, onLine);
  chaos.during();
  const timeout = new AbortController();
  const wait = (ms: number): Promise<void> => sleep(ms, undefined, { signal: timeout.signal }).catch(() => {});
  const patience = way === 'boot' ? wait(bootMs) : Promise.race([ready.promise, wait(20_000)]).then(() => wait(lifeMs));
  await Promise.race([patience, worker.ended]);
  timeout.abort();
  worker.kill();
  await worker.ended;
  chronicle.nextLife();
  const moment = { boot: `boot + ${bootMs} ms`, time: `ready + ${lifeMs} ms`, point: `${kill.point} ${kill.count}` }[
    way
  ];
  return `${moment}${done && `, ${done}`}${stopAtMessages.stopAtMessages ? ', stopped while filling' : ''}`;
}

/** The worker that is not killed: everything has to come, and the dead letters have to be there. */
async function lastLife(spec: WorkerSpec, chronicle: Chronicle): Promise<void> {
  let lastLine = performance.now();
  let finished = false;
  const worker = startWorker(spec, (line) => {
    lastLine = performance.now();
    if (line.kind === 'finished') finished = true;
    chronicle.add(line);
  });
  while (chronicle.missing().length > 0 && performance.now() - lastLine < SILENCE_MS) await sleep(100);
  chronicle.violations.push(...chronicle.missing().map((what) => `missing: ${what}`));
  worker.finish();
  await Promise.race([worker.ended, sleep(SILENCE_MS, undefined, { ref: false })]);
  if (!finished) chronicle.violations.push('the last worker did not finish');
  worker.kill();
  await worker.ended;
  chronicle.checkGaps();
}
