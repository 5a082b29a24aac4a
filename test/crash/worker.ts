// Runs the library for a few users until it is killed; what it does and is told stands in worker-protocol.ts.
import { writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { MatrixClientManager, sqliteStorage } from '../../src/index.js';
import type { ClientEvent } from '../../src/index.js';
import type { Point, WorkerLine, WorkerSpec, WorkerUser } from './worker-protocol.js';

const spec = JSON.parse(process.argv[2] ?? '') as WorkerSpec;
const passed = new Map<Point, number>();
let messagesRequests = 0;
const ending = new AbortController();
const stopping = ending.signal;

function print(line: WorkerLine): void {
  let rest = Buffer.from(`${JSON.stringify(line)}\n`);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(1, rest));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error; // the parent has not read yet
    }
  }
}

function pass(point: Point): void {
  const count = (passed.get(point) ?? 0) + 1;
  passed.set(point, count);
  if (spec.kill?.point === point && spec.kill.count === count) process.kill(process.pid, 'SIGKILL');
}

/** The storage, which tells of every commit when it has been acknowledged. */
function watchedStorage(): ReturnType<typeof sqliteStorage> {
  const storage = sqliteStorage({ path: spec.path, secret: new Uint8Array(32).fill(7) });
  const commit = storage.commit.bind(storage);
  storage.commit = async (userId, change) => {
    const positions = [...(change.lastDelivered?.values() ?? [])].flatMap((position) => position?.eventId ?? []);
    const journal = (change.journal?.add ?? []).map(({ eventId }) => eventId);
    pass('commit');
    await commit(userId, change);
    print({ kind: 'stored', at: performance.now(), userId, positions, journal });
    pass('committed');
  };
  const addOnceEvents = storage.addOnceEvents?.bind(storage);
  storage.addOnceEvents = async (...args) => {
    await addOnceEvents?.(...args);
    pass('onceStored');
  };
  return storage;
}

const watchedFetch: typeof fetch = async (input, init) => {
  const { pathname } = new URL(input instanceof Request ? input.url : input);
  if (pathname.endsWith('/login')) pass('login');
  if (pathname.endsWith('/sync')) pass('sync');
  const isMessages = pathname.endsWith('/messages');
  if (isMessages) pass('messages');
  const response = await fetch(input, init);
  if (spec.verbose && (isMessages || pathname.endsWith('/sync'))) void tell(input, response.clone());
  if (pathname.endsWith('/sync')) pass('synced');
  if (isMessages) {
    pass('messagesRead');
    if (++messagesRequests === spec.stopAtMessages) void restartAll();
  }
  return response;
};

interface Seen {
  readonly next_batch?: string;
  readonly end?: string;
  readonly chunk?: { content: { body?: unknown } }[];
  readonly rooms?: { join?: Record<string, { timeline: { events: { event_id: string }[]; limited: boolean } }> };
}

async function tell(input: string | URL | Request, response: Response): Promise<void> {
  const url = input instanceof Request ? input.url : String(input);
  const { next_batch, end, chunk, rooms } = (await response.json().catch(() => ({}))) as Seen;
  const timelines = Object.entries(rooms?.join ?? {}).map(([roomId, { timeline }]) => ({
    roomId,
    ...timeline,
    events: timeline?.events.map(({ event_id: id }) => id),
  }));
  const bodies = chunk?.map(({ content }) => content.body);
  const { status } = response;
  print({ kind: 'http', userId: '', query: url, answer: { status, next_batch, end, bodies, timelines } });
}

const manager = new MatrixClientManager({
  homeserverUrl: spec.homeserverUrl,
  admin: spec.admin,
  storage: watchedStorage(),
  callbacks: [{ callback: onceCallback(), types: ['message'], once: true }],
  fetch: watchedFetch,
  timelineLimit: spec.timelineLimit,
  gapFillLimit: spec.gapFillLimit,
  idleTimeoutMs: spec.idleTimeoutMs,
  slidingSync: spec.slidingSync,
  sweepIntervalMs: 100,
  callbackRetryDelayMs: 20,
  pollTimeoutMs: 5_000,
});

const slowBy = (n: number): number => 3 + ((n * 37) % 40) + (n % 29 === 0 ? 200 : 0);

function makeCallback(userId: string, callback: number): (event: ClientEvent) => void | Promise<void> {
  const failed = new Set<string>();
  const finish = (eventId: string, mark: string | undefined): void => {
    if (mark === 'poison' || (mark === 'flaky' && !failed.has(eventId))) {
      failed.add(eventId);
      print({ kind: 'fail', at: performance.now(), userId, callback, eventId });
      throw new Error(`told to fail on ${eventId}`);
    }
    print({ kind: 'end', at: performance.now(), userId, callback, eventId });
    pass('end');
  };
  return (event) => {
    if (event.type !== 'message') return;
    const { roomId, eventId, provenance, content } = event;
    const [number, mark] = String(content.body).split(' ');
    const n = Number(number);
    pass('begin');
    print({ kind: 'begin', at: performance.now(), userId, callback, roomId, eventId, n, provenance });
    pass('middle');
    const delayMs = roomId === spec.slowRoom ? slowBy(n + callback) : n % 3 === 0 ? 1 + (n % 4) : 0;
    // A callback that returns no promise is the hardest to keep up with.
    if (delayMs === 0) return finish(eventId, mark);
    return sleep(delayMs).then(() => {
      pass('middle');
      finish(eventId, mark);
    });
  };
}

/** The callback that gets each event once for all users. */
function onceCallback(): (event: ClientEvent) => Promise<void> {
  const failed = new Set<string>();
  return async (event) => {
    if (event.type !== 'message') return;
    const { userId, roomId, eventId, content } = event;
    const [number, mark] = String(content.body).split(' ');
    print({ kind: 'onceBegin', userId, roomId, eventId });
    pass('onceBegin');
    if (Number(number) % 5 === 0) await sleep(Number(number) % 7);
    if (mark === 'flaky' && !failed.has(eventId)) {
      failed.add(eventId);
      print({ kind: 'onceFail', eventId });
      throw new Error(`told to fail on ${eventId}`);
    }
    print({ kind: 'onceEnd', eventId });
    pass('onceEnd');
  };
}

async function start({ username, userId }: WorkerUser): Promise<void> {
  while (!stopping.aborted) {
    try {
      await manager.provisionUser({ username });
      await manager.startClient({ userId });
      print({ kind: 'ready', userId });
      pass('ready');
      return;
    } catch (error) {
      print({ kind: 'problem', message: `starting ${userId}: ${String(error)}` });
      await sleep(100);
    }
  }
}

async function restartAll(): Promise<void> {
  await Promise.all(
    spec.users.map(async (user) => {
      if (await manager.stopClient(user.userId)) await start(user);
    }),
  );
}

for (const { userId, callbacks } of spec.users) {
  for (const [index, options] of callbacks.entries()) {
    manager.addCallback(userId, makeCallback(userId, index), { ...options, types: ['message'] });
  }
}
manager.on('gap', ({ userId, roomId, from, to, reason, error }) => {
  print({ kind: 'gap', userId, roomId, from, to, reason, error: error instanceof Error ? error.message : undefined });
});
manager.on('deadLetter', ({ userId, event }) => {
  print({ kind: 'dead', at: performance.now(), userId, eventId: 'eventId' in event ? event.eventId : '' });
});
manager.on('clientStopped', ({ userId, reason }) => {
  print({ kind: 'stopped', userId, reason });
  const user = spec.users.find((user) => user.userId === userId);
  if (user && !stopping.aborted && reason !== 'requested') void sleep(50).then(() => start(user));
});
process.on('message', () => void finish());
process.on('disconnect', () => process.exit(1)); // without a parent there is nobody to work for
process.on('unhandledRejection', (error) => {
  print({ kind: 'problem', message: `unhandled rejection: ${error instanceof Error ? error.stack : String(error)}` });
});

async function finish(): Promise<void> {
  ending.abort();
  const deadLetters: Record<string, string[]> = {};
  for (const { userId } of spec.users) {
    deadLetters[userId] = (await manager.deadLetters(userId)).map(({ id }) => id);
  }
  print({ kind: 'finished', deadLetters });
  await manager.shutdown();
  process.disconnect();
}

await Promise.all(spec.users.map((user) => start(user)));
