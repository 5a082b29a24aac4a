import { describe, expect, it, onTestFinished } from 'vitest';
import { managerOnFake } from '../support/manager-on-fake.js';
import { Recorder } from '../support/recorder.js';

const SLIDING = '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync';
const alice = '@alice:hs.test';
const bob = '@bob:hs.test';

/** Alice is in 60 rooms with Bob. Her client has no callbacks, and only 20 of the rooms, because loading more fails. */
async function setUp(gapFillTimeoutMs = 600_000) {
  let failing: { readonly since: string | undefined; readonly answer: () => Response } | undefined;
  let rejectedPolls = 0;
  let windows = 0;
  let failsToLoad = true;
  const fetch: typeof globalThis.fetch = (input, init) => {
    const { pathname, searchParams } = new URL(input instanceof Request ? input.url : input);
    const since = searchParams.get('since');
    if (pathname === SLIDING && windows++ > 0 && failsToLoad) return Promise.resolve(refusal(503));
    if (failing && since === failing.since) return Promise.resolve(failing.answer());
    if (since !== null && rejectedPolls > 0) {
      rejectedPolls--;
      return Promise.resolve(refusal(400));
    }
    return world.fake.fetch(input, init);
  };
  const world = managerOnFake({ fetch, gapFillTimeoutMs }, { slidingSync: true });
  const { fake, manager, clock, soon, storage, make } = world;
  const user = fake.createUser({ username: 'alice' });
  fake.createUser({ username: 'bob' });
  const rooms = Array.from({ length: 60 }, (_, index) => {
    const roomId = fake.createRoom({ creator: bob, members: [alice], name: `Room ${index}` });
    fake.sendMessage(roomId, bob, `history ${index}`);
    return roomId;
  });
  const [late = ''] = rooms;
  onTestFinished(async () => {
    await soon(manager.shutdown());
    await fake.close();
  });
  await soon(manager.startClient(user));
  await clock.advance(20_000);
  return {
    ...world,
    late,
    rooms,
    endOutage: () => void (failsToLoad = false),
    /** Bob writes in a room; the client receives it. */
    say: async (body: string, roomId: string): Promise<void> => {
      fake.sendMessage(roomId, bob, body);
      await clock.advance(1_000);
    },
    /** Every sync from the stored position gets this answer from now on, until the returned function is called. */
    failMissedSync: async (answer = () => refusal(500)): Promise<() => void> => {
      failing = { since: (await storage.loadCheckpoint(alice)).since, answer };
      return () => (failing = undefined);
    },
    /** The homeserver rejects the position of the polls. */
    losePosition: () => void (rejectedPolls = 2),
    /** Adds a callback for live events, and one that gets the backlog too. */
    listen: (on = manager) => {
      const [live, all] = [new Recorder(), new Recorder()];
      on.addCallback(alice, live.callback, { types: ['message'] });
      on.addCallback(alice, all.callback, { types: ['message'], backlog: true });
      return { live, all };
    },
    /** Ends the process and begins another one. */
    restart: async () => {
      await soon(manager.shutdown());
      const next = make();
      onTestFinished(() => soon(next.shutdown()));
      return next;
    },
  };
}

function refusal(status: number): Response {
  return Response.json({ errcode: 'M_UNKNOWN', error: 'no' }, { status });
}

function messages({ events }: Recorder, roomId?: string): string[] {
  return events.flatMap((event) =>
    event.type === 'message' && (roomId === undefined || event.roomId === roomId)
      ? [`${event.provenance} ${String(event.content.body)}`]
      : [],
  );
}

describe('a sync for missed events while rooms are missing', () => {
  it('stores no part of a missing room as the whole, if the stored position is rejected', async () => {
    const { clock, endOutage, failMissedSync, late, listen, say, restart, rooms, soon, storage } = await setUp();
    await say('missed', late);
    await failMissedSync(() => refusal(400));
    const { live } = listen();
    await clock.advance(60_000);
    expect(messages(live, late)).toContain('gap-fill missed');
    expect([...(await storage.loadCheckpoint(alice)).rooms.keys()].toSorted()).toEqual(rooms.slice(40).toSorted());
    endOutage();
    const next = await restart();
    await soon(next.startClient({ userId: alice }));
    await clock.advance(700_000);
    expect(next.getClient(alice)?.getRoom(late)?.name).toBe('Room 0');
    expect([...(await storage.loadCheckpoint(alice)).rooms.keys()].filter((key) => key.startsWith('!')).length).toBe(
      rooms.length,
    );
  });

  it('stores all rooms that came after a lost position before it succeeds', async () => {
    const world = await setUp();
    const { clock, failMissedSync, late, losePosition, manager, say, restart, rooms, soon, storage } = world;
    await say('missed', late);
    const endFailure = await failMissedSync();
    const live = new Recorder();
    manager.addCallback(alice, live.callback, { types: ['message'] });
    await clock.advance(5_000);
    losePosition();
    await clock.advance(60_000);
    endFailure();
    await clock.advance(120_000);
    expect(messages(live)).toEqual(['gap-fill missed']);
    expect([...(await storage.loadCheckpoint(alice)).rooms.keys()].filter((key) => key.startsWith('!')).length).toBe(
      rooms.length,
    );
    const next = await restart();
    await soon(next.startClient({ userId: alice }));
    const names = next
      .getClient(alice)
      ?.getRooms()
      .map(({ name }) => name);
    expect(names?.toSorted()).toEqual(rooms.map((_, index) => `Room ${index}`).toSorted());
  });

  it('is given up after gapFillTimeoutMs if the response has no position', async () => {
    const { clock, failMissedSync, late, listen, say } = await setUp(60_000);
    await say('missed', late);
    await failMissedSync(() => Response.json({}));
    const { live } = listen();
    await clock.advance(130_000);
    expect(messages(live)).toEqual(['gap-fill missed']);
  });

  it('loses neither state nor backlog of rooms that could be loaded before it succeeds', async () => {
    const { clock, endOutage, failMissedSync, late, listen, say, soon, restart, rooms, storage } = await setUp();
    await say('missed', late);
    const endFailure = await failMissedSync();
    const { live, all } = listen();
    await clock.advance(5_000);
    endOutage();
    await clock.advance(120_000);
    endFailure();
    await clock.advance(120_000);
    expect(messages(live)).toEqual(['gap-fill missed']);
    expect(messages(all).toSorted()).toEqual(
      [...rooms.map((_, index) => `backlog history ${index}`), 'gap-fill missed'].toSorted(),
    );
    expect([...(await storage.loadCheckpoint(alice)).rooms.keys()].filter((key) => key.startsWith('!')).length).toBe(
      60,
    );
    const next = await restart();
    const { live: later } = listen(next);
    await soon(next.startClient({ userId: alice }));
    await say('live', rooms[1] ?? '');
    expect(messages(later)).toEqual(['live live']);
  });

  it('hides no deleted room that is found before it succeeds', async () => {
    const { clock, fake, failMissedSync, endOutage, manager, rooms, say, soon } = await setUp();
    endOutage();
    await clock.advance(120_000);
    const [missedRoom = '', deleted = ''] = rooms;
    await say('missed', missedRoom);
    const endFailure = await failMissedSync();
    const gone: unknown[] = [];
    manager.on('gap', (gap) => gone.push(gap));
    const live = new Recorder();
    manager.addCallback(alice, live.callback, { types: ['message'] });
    await clock.advance(5_000);
    fake.deleteRoom(deleted);
    await soon(manager.sendMessage({ userId: alice, roomId: deleted, text: 'hi' }).catch(() => {}));
    await clock.advance(60_000);
    endFailure();
    await clock.advance(120_000);
    expect(messages(live)).toEqual(['gap-fill missed']);
    expect(gone).toMatchObject([{ roomId: deleted, reason: 'gone' }]);
  });

  it.each([
    ['succeeds', false],
    ['is given up', true],
  ])('keeps the backlog of a missing room that has missed events, if it %s', async (_what, isGivenUp) => {
    const { clock, endOutage, failMissedSync, late, listen, say, rooms, storage } = await setUp(60_000);
    await say('missed', late);
    if (isGivenUp) await failMissedSync();
    const { live, all } = listen();
    await clock.advance(130_000);
    expect(messages(live)).toEqual(['gap-fill missed']);
    const stored = await storage.loadCheckpoint(alice);
    expect([stored.rooms.has(late), stored.lastDelivered.get(late)?.history]).toEqual([false, true]);
    endOutage();
    await clock.advance(700_000);
    expect(messages(all).toSorted()).toEqual(
      [...rooms.map((_, index) => `backlog history ${index}`), 'gap-fill missed'].toSorted(),
    );
    expect(messages(live)).toEqual(['gap-fill missed']);
  });

  it.each([
    ['succeeds', false],
    ['is given up', true],
  ])('lets a later process load a missing room that has missed events, if it %s', async (_what, isGivenUp) => {
    const { clock, endOutage, failMissedSync, late, listen, say, restart, rooms, soon, storage } = await setUp(60_000);
    await say('missed', late);
    if (isGivenUp) await failMissedSync();
    listen();
    await clock.advance(130_000);
    endOutage();
    const next = await restart();
    const { live, all } = listen(next);
    await soon(next.startClient({ userId: alice }));
    await clock.advance(700_000);
    expect([messages(live), messages(all, late)]).toEqual([[], ['backlog history 0', 'backlog missed']]);
    expect(next.getClient(alice)?.getRoom(late)?.name).toBe('Room 0');
    expect([...(await storage.loadCheckpoint(alice)).rooms.keys()].filter((key) => key.startsWith('!')).length).toBe(
      rooms.length,
    );
  });
});

it('a backlog request fills no gap with what was there before the client, in a room of which no event was known', async () => {
  let hidesEvents = true;
  const world = managerOnFake({
    slidingSync: false,
    fetch: async (input, init) => {
      const response = await world.fake.fetch(input, init);
      if (!new URL(input instanceof Request ? input.url : input).pathname.endsWith('/v3/sync')) return response;
      const body = (await response.json()) as { rooms?: { join?: Record<string, { timeline: object }> } };
      // As if the newest events were of an ignored user.
      for (const room of hidesEvents ? Object.values(body.rooms?.join ?? {}) : []) {
        Object.assign(room.timeline, { events: [], limited: true });
      }
      return Response.json(body);
    },
  });
  const { fake, manager, clock, soon } = world;
  const user = fake.createUser({ username: 'alice' });
  fake.createUser({ username: 'bob' });
  const roomId = fake.createRoom({ creator: bob, members: [alice] });
  onTestFinished(async () => {
    await soon(manager.shutdown());
    await fake.close();
  });
  const say = (name: string): string[] =>
    Array.from({ length: 30 }, (_, index) => {
      fake.sendMessage(roomId, bob, `${name} ${index}`);
      return `gap-fill ${name} ${index}`;
    });
  say('old');
  await soon(manager.startClient(user));
  hidesEvents = false;
  const missed = say('missed');
  await clock.advance(1_000);
  const all = new Recorder();
  manager.addCallback(alice, all.callback, { types: ['message'], backlog: true });
  await clock.advance(5_000);
  expect(messages(all)).toEqual(missed);
});
