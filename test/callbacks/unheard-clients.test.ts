import { describe, expect, it, onTestFinished } from 'vitest';
import type { MatrixClientManager, MatrixClientManagerError, MatrixClientManagerOptions } from '../../src/index.js';
import { managerOnFake } from '../support/manager-on-fake.js';
import { Recorder } from '../support/recorder.js';

const alice = '@alice:hs.test';
const bob = '@bob:hs.test';

/** Alice shares a room with Bob, who writes; she has a client before she has callbacks. */
function setUp(options: Partial<MatrixClientManagerOptions> = {}) {
  const world = managerOnFake(options);
  const { fake, manager, clock, soon } = world;
  const user = fake.createUser({ username: 'alice' });
  fake.createUser({ username: 'bob' });
  const roomId = fake.createRoom({ creator: bob, members: [alice] });
  const say = (body: string, room = roomId): string => fake.sendMessage(room, bob, body);
  const start = (on = manager) => soon(on.startClient(user));
  /** Lets the client take in what has been said. */
  const settle = () => clock.advance(1_000);
  onTestFinished(async () => {
    await soon(manager.shutdown());
    await fake.close();
    // An aborted request leaves the fake a few turns of the event loop later.
    await expect
      .poll(() => ({ inFlight: fake.inFlight, timers: clock.pendingTimers }))
      .toEqual({ inFlight: 0, timers: 0 });
  });
  return { ...world, user, roomId, say, start, settle };
}

async function arrivals({ events }: Recorder, count: number, settle: () => Promise<void>): Promise<string[]> {
  for (let turns = 0; turns < 60 && events.length < count; turns++) await settle();
  await settle();
  return events.flatMap((event) =>
    event.type === 'message' ? [`${event.provenance} ${String(event.content.body)}`] : [],
  );
}

describe.each([true, false])('a client without callbacks (sliding sync: %s)', (slidingSync) => {
  it('keeps what comes for the first callback that is added', async () => {
    const { manager, say, start, settle } = setUp({ slidingSync });
    say('before');
    await start();
    say('missed 1');
    await settle();
    say('missed 2');
    await settle();
    const got = new Recorder();
    manager.addCallback(alice, got.callback);
    expect(await arrivals(got, 2, settle)).toEqual(['gap-fill missed 1', 'gap-fill missed 2']);
    say('live');
    expect((await arrivals(got, 3, settle)).at(-1)).toBe('live live');
    expect(got.events).toHaveLength(3);
  });

  it('brings what it kept at the next start, whatever becomes of the check for deleted rooms', async () => {
    const { fake, manager, clock, say, start, settle } = setUp({ slidingSync });
    await start();
    say('missed');
    await settle();
    await manager.stopClient(alice);
    const release = fake.faults.hang({ endpoint: '/joined_rooms' });
    const got = new Recorder();
    manager.addCallback(alice, got.callback);
    await start();
    const started = clock.now();
    expect(await arrivals(got, 1, settle)).toEqual(['gap-fill missed']);
    expect(clock.now() - started).toBeLessThan(10_000); // the check takes 30 seconds
    release();
  });

  it('keeps the history of the first sync for a callback that asks for the backlog', async () => {
    const { manager, say, start, settle } = setUp({ slidingSync });
    say('before');
    await start();
    await settle();
    const [plain, got] = [new Recorder(), new Recorder()];
    manager.addCallback(alice, plain.callback, { types: ['message'] });
    say('live');
    await plain.message('live');
    manager.addCallback(alice, got.callback, { types: ['message'], backlog: true });
    expect(await arrivals(got, 1, settle)).toEqual(['backlog before']);
    say('more');
    expect((await arrivals(got, 2, settle)).at(-1)).toBe('live more');
    expect(plain.bodies()).toEqual(['live', 'more']);
  });

  it('stores no position beyond what was delivered: after a kill the missed events come', async () => {
    const { make, fake, manager, storage, say, start, settle, soon } = setUp({ slidingSync });
    const first = new Recorder();
    const off = manager.addCallback(alice, first.callback);
    await start();
    say('heard');
    await first.message('heard');
    await settle();
    off();
    const { since } = await storage.loadCheckpoint(alice);
    say('missed');
    const room = fake.createRoom({ creator: bob });
    fake.invite(room, alice, bob);
    await settle();
    expect((await storage.loadCheckpoint(alice)).since).toBe(since);
    await soon(manager.shutdown());
    const next = make();
    onTestFinished(() => soon(next.shutdown()));
    const got = new Recorder();
    next.addCallback(alice, got.callback);
    await start(next);
    expect(await arrivals(got, 2, settle)).toEqual(['gap-fill missed']);
    expect(got.events.map(({ type }) => type).toSorted()).toEqual(['invite', 'message']);
  });

  it('goes on in the next process from where it was, and what is owed to callbacks is asked for once', async () => {
    const { make, fake, manager, storage, roomId, say, start, settle, soon } = setUp({ slidingSync });
    const first = new Recorder();
    const off = manager.addCallback(alice, first.callback);
    await start();
    say('heard');
    await first.message('heard');
    await settle();
    off();
    fake.sendState(roomId, bob, 'm.room.name', { name: 'Renamed' });
    say('missed');
    await settle();
    const { since, clientSince } = await storage.loadCheckpoint(alice);
    await soon(manager.shutdown());
    /** The positions that were asked from since the last look. */
    const asked = (): unknown[] => {
      const positions = fake.requests.filter(({ endpoint }) => endpoint === '/sync').map(({ query }) => query.since);
      fake.clearRequests();
      return positions;
    };
    asked();
    const next = make();
    onTestFinished(() => soon(next.shutdown()));
    expect(await soon(next.withClient(alice, (client) => client.getRoom(roomId)?.name))).toBe('Renamed');
    const [beginsAt, ...others] = asked();
    expect([beginsAt, others.includes(since)]).toEqual([clientSince, false]);
    const got = new Recorder();
    next.addCallback(alice, got.callback);
    say('live');
    expect(await arrivals(got, 3, settle)).toEqual(['gap-fill missed', expect.stringMatching(/ live$/)]);
    expect(got.events.filter(({ type }) => type === 'state')).toHaveLength(1);
    expect(asked().filter((position) => position === since)).toHaveLength(1);
    expect((await storage.loadCheckpoint(alice)).clientSince).toBeUndefined();
  });

  it('that is killed on its first start is owed what came after that start, and the backlog', async () => {
    const { make, manager, say, start, settle, soon } = setUp({ slidingSync });
    say('before');
    await start();
    say('missed');
    await settle();
    await soon(manager.shutdown());
    const next = make();
    onTestFinished(() => soon(next.shutdown()));
    const [plain, backlog] = [new Recorder(), new Recorder()];
    next.addCallback(alice, plain.callback, { types: ['message'] });
    next.addCallback(alice, backlog.callback, { types: ['message'], backlog: true });
    await start(next);
    expect(await arrivals(backlog, 2, settle)).toEqual(['backlog before', 'gap-fill missed']);
    expect(await arrivals(plain, 1, settle)).toEqual(['gap-fill missed']);
  });
});

describe('what was missed while the process was down', () => {
  const file = { body: new Uint8Array([1]), name: 'a.bin' };
  /** Calls that an application may make before it has added its callbacks. Several of them start a client. */
  const calls: readonly (readonly [string, (manager: MatrixClientManager, roomId: string) => unknown])[] = [
    ['startClient', (manager) => manager.startClient({ userId: alice })],
    ['startClient, given up', (manager) => manager.startClient({ userId: alice, signal: AbortSignal.abort() })],
    [
      'startClient and stopClient',
      (manager) => manager.startClient({ userId: alice }).then(() => manager.stopClient(alice)),
    ],
    ['withClient', (manager) => manager.withClient(alice, () => {})],
    ['connect without a callback', (manager) => manager.connect({ userId: alice })],
    [
      'connect without a callback, closed',
      (manager) => manager.connect({ userId: alice }).then((open) => open.close()),
    ],
    ['addCallback, undone at once', (manager) => manager.addCallback(alice, () => {})()],
    ['getClient', (manager) => manager.getClient(alice)],
    ['touch', (manager) => manager.touch(alice)],
    ['provisionUser', (manager) => manager.provisionUser({ username: 'alice' })],
    ['getRoomMessages', (manager, roomId) => manager.getRoomMessages({ userId: alice, roomId })],
    ['sendMessage', (manager, roomId) => manager.sendMessage({ userId: alice, roomId, text: 'hi' })],
    [
      'sendMessage, durable',
      (manager, roomId) => manager.sendMessage({ userId: alice, roomId, text: 'hi', durable: true }),
    ],
    ['sendFile', (manager, roomId) => manager.sendFile({ userId: alice, roomId, file })],
    ['sendTyping', (manager, roomId) => manager.sendTyping({ userId: alice, roomId, typing: true })],
    [
      'sendReadReceipt',
      async (manager, roomId) => {
        const [newest] = (await manager.getRoomMessages({ userId: alice, roomId, limit: 1 })).messages;
        await manager.sendReadReceipt({ userId: alice, roomId, eventId: newest?.eventId ?? '' });
      },
    ],
    ['encryptionStatus', (manager) => manager.encryptionStatus(alice)],
    ['userVerification', (manager) => manager.userVerification(alice, bob)],
    ['verifyUser', (manager) => manager.verifyUser(alice, bob)],
    ['resetIdentity', (manager) => manager.resetIdentity(alice)],
    ['listSends', (manager) => manager.listSends()],
    ['deadLetters', (manager) => manager.deadLetters(alice)],
    ['checkHealth', (manager) => manager.checkHealth()],
  ];

  /** A process with a callback has ended, and a message has come since; `makeNext` is the process after it. */
  async function setUpMissed() {
    const world = setUp();
    const { make, manager, say, start, settle, soon } = world;
    const first = new Recorder();
    manager.addCallback(alice, first.callback);
    await start();
    say('heard');
    await first.message('heard');
    await settle();
    await soon(manager.shutdown());
    say('missed');
    const makeNext = (): MatrixClientManager => {
      const next = make();
      onTestFinished(() => soon(next.shutdown()));
      return next;
    };
    return { ...world, makeNext };
  }

  it.each(calls)('comes once to a callback that is added after %s', async (_what, call) => {
    const { makeNext, roomId, say, settle, soon } = await setUpMissed();
    const next = makeNext();
    const errorCode = ({ code }: MatrixClientManagerError): string => code;
    const outcome = await soon(Promise.resolve(call(next, roomId)).then(() => 'done', errorCode));
    expect(['done', 'ABORTED', 'ENCRYPTION_UNAVAILABLE']).toContain(outcome);
    await settle();
    say('meanwhile');
    await settle();
    const got = new Recorder();
    next.addCallback(alice, got.callback);
    await soon(next.startClient({ userId: alice }));
    say('live');
    await soon(got.message('live'));
    await settle();
    const ofBob = got.events.filter((event) => event.type === 'message' && event.sender === bob);
    expect(ofBob.map((event) => 'content' in event && event.content.body)).toEqual(['missed', 'meanwhile', 'live']);
  });

  it('comes once to a callback that is added after a durable message of the process before was sent', async () => {
    const { makeNext, roomId, settle, soon, storage } = await setUpMissed();
    const content = JSON.stringify({ msgtype: 'm.text', body: 'queued' });
    await storage.enqueueSend(alice, { txnId: 't', roomId, type: 'm.room.message', content, enqueuedAt: 0 });
    const next = makeNext();
    await settle();
    const got = new Recorder();
    next.addCallback(alice, got.callback);
    await soon(next.startClient({ userId: alice }));
    expect((await arrivals(got, 2, settle)).map((text) => text.split(' ')[1])).toEqual(['missed', 'queued']);
  });
});

describe('callbacks that are all removed', () => {
  it('leave what none of them had begun with to those that are added later, in order', async () => {
    const { manager, say, start, settle } = setUp();
    const gate = Promise.withResolvers<void>();
    const bodies: string[] = [];
    const off = manager.addCallback(alice, async (event) => {
      if (event.type !== 'message') return;
      bodies.push(String(event.content.body));
      await gate.promise;
    });
    await start();
    for (const body of ['1', '2', '3']) say(body);
    await settle();
    off();
    const got = new Recorder();
    manager.addCallback(alice, got.callback, { types: ['message'] });
    say('4');
    await settle();
    gate.resolve();
    const arrived = await arrivals(got, 3, settle);
    expect(bodies).toEqual(['1']);
    expect(arrived.map((text) => text.split(' ')[1]).slice(-3)).toEqual(['2', '3', '4']);
    expect(new Set(arrived).size).toBe(arrived.length);
  });

  it('get after a pause what came in it, from a room that was joined in it too', async () => {
    const { fake, manager, say, start, settle } = setUp();
    const got = new Recorder();
    manager.addCallback(alice, got.callback, { types: ['message'] })();
    manager.addCallback(alice, got.callback, { types: ['message'] });
    await start();
    say('1');
    await got.message('1');
    manager.removeCallback(alice, got.callback);
    say('2');
    const room = fake.createRoom({ creator: bob, members: [alice] });
    say('new room', room);
    await settle();
    manager.addCallback(alice, got.callback, { types: ['message'] });
    await arrivals(got, 3, settle);
    say('3');
    await arrivals(got, 4, settle);
    expect(got.bodies().toSorted()).toEqual(['1', '2', '3', 'new room']);
  });

  it('miss nothing where the homeserver fails the request for what was missed', async () => {
    const { fake, manager, say, start, settle } = setUp();
    await start();
    say('missed');
    await settle();
    const got = new Recorder();
    fake.faults.status({ endpoint: '/sync', times: 3 }, { status: 500 });
    manager.addCallback(alice, got.callback, { types: ['message'] });
    expect(await arrivals(got, 1, settle)).toEqual(['gap-fill missed']);
  });
});

describe('a request for what was missed that fails for good while polls succeed', () => {
  /** Fails every sync from the stored position; the client polls from a later one. */
  async function failing(status: number, errcode: string, gapFillTimeoutMs = 600_000) {
    let failingSince: string | undefined;
    const fetch: typeof globalThis.fetch = (input, init) => {
      const { searchParams } = new URL(input instanceof Request ? input.url : input);
      const fails = failingSince !== undefined && searchParams.get('since') === failingSince;
      return fails
        ? Promise.resolve(Response.json({ errcode, error: 'no' }, { status }))
        : world.fake.fetch(input, init);
    };
    const world = setUp({ fetch, gapFillTimeoutMs });
    const { manager, storage, say, start, settle } = world;
    await start();
    say('missed');
    await settle();
    failingSince = (await storage.loadCheckpoint(alice)).since;
    const got = new Recorder();
    manager.addCallback(alice, got.callback, { types: ['message'] });
    return { ...world, mend: () => (failingSince = undefined), got };
  }

  it('leaves no hole in the pages from memory, and no room that was left meanwhile', async () => {
    const { fake, manager, say, settle, got, mend, roomId, soon } = await failing(500, 'M_UNKNOWN');
    const left = fake.createRoom({ creator: bob, members: [alice] });
    await settle();
    say('while it fails');
    await settle();
    fake.leave(left, alice);
    await settle();
    mend();
    expect(await arrivals(got, 2, settle)).toEqual(['gap-fill missed', 'gap-fill while it fails']);
    say('after');
    await arrivals(got, 3, settle);
    const page = await soon(manager.getRoomMessages({ userId: alice, roomId, limit: 3 }));
    expect(page.messages.map(({ content }) => content.body)).toEqual(['after', 'while it fails', 'missed']);
  });

  it('is given up after gapFillTimeoutMs: each room tells what was missed in it, and live events go on', async () => {
    const { fake, manager, clock, say, settle, got, roomId, storage } = await failing(500, 'M_UNKNOWN');
    const other = fake.createRoom({ creator: bob, members: [alice] });
    say('meanwhile', other);
    const gaps: unknown[] = [];
    manager.on('gap', (gap) => gaps.push(gap));
    await clock.advance(500_000);
    expect(got.events).toEqual([]);
    await clock.advance(200_000);
    await settle();
    expect([got.bodies(roomId), got.bodies(other)]).toEqual([['missed'], ['meanwhile']]);
    expect(manager.clientInfo(alice)).toMatchObject({ state: 'live', incomplete: false, stalledRooms: 0 });
    say('live');
    say('live too', other);
    await settle();
    expect([got.bodies(roomId), got.bodies(other)]).toEqual([
      ['missed', 'live'],
      ['meanwhile', 'live too'],
    ]);
    expect(gaps).toEqual([]);
    const { rooms } = await storage.loadCheckpoint(alice);
    expect([...rooms.keys()].filter((key) => key.startsWith('!')).toSorted()).toEqual([roomId, other].toSorted());
  });

  it('and whose room fails to tell as well becomes a gap of that room, seen in health, and live events go on', async () => {
    const { fake, manager, clock, say, settle, got, roomId } = await failing(500, 'M_UNKNOWN');
    fake.faults.status({ endpoint: '/rooms/{roomId}/messages' }, { status: 500 });
    const gaps: unknown[] = [];
    manager.on('gap', (gap) => gaps.push(gap));
    await clock.advance(1_000_000);
    expect(gaps).toEqual([]);
    expect(manager.clientInfo(alice)).toMatchObject({ incomplete: false, stalledRooms: 1 });
    say('live');
    await clock.advance(500_000);
    expect(gaps).toMatchObject([{ userId: alice, roomId, reason: 'error', error: { status: 500 } }]);
    await settle();
    expect(got.bodies()).toEqual(['live']);
    expect(await manager.checkHealth()).toMatchObject({ status: 'degraded' });
  });

  it('is not given up for an outage of the whole homeserver', async () => {
    const { fake, manager, clock, got, mend, settle } = await failing(500, 'M_UNKNOWN');
    const up = fake.faults.status({}, { status: 503 });
    mend();
    await clock.advance(900_000);
    expect(got.events).toEqual([]);
    up();
    await clock.advance(60_000);
    expect(await arrivals(got, 1, settle)).toEqual(['gap-fill missed']);
    expect(manager.clientInfo(alice)).toMatchObject({ state: 'live', incomplete: false });
  });

  it('shows in health, info and stats, is asked again with pauses of a minute, and is made up for', async () => {
    const { fake, manager, clock, settle, got, mend } = await failing(500, 'M_UNKNOWN', Infinity);
    await clock.advance(600_000);
    const before = fake.requests.length;
    await clock.advance(600_000);
    expect(fake.requests.length - before).toBeLessThan(60);
    expect(manager.clientInfo(alice)).toMatchObject({ state: 'live', incomplete: true });
    expect(manager.stats().incompleteClients).toBe(1);
    expect(await manager.checkHealth()).toEqual({
      status: 'degraded',
      reasons: ['1 clients lack rooms or missed events that the homeserver fails to return'],
    });
    mend();
    await clock.advance(60_000);
    expect(await arrivals(got, 1, settle)).toEqual(['gap-fill missed']);
    expect((await manager.checkHealth()).status).toBe('ok');
  });

  it('since the homeserver rejects the position is made up for without it', async () => {
    const { manager, say, settle, got } = await failing(400, 'M_UNKNOWN_POS');
    expect(await arrivals(got, 1, settle)).toEqual(['gap-fill missed']);
    expect(manager.clientInfo(alice)).toMatchObject({ state: 'live', incomplete: false });
    say('live');
    expect((await arrivals(got, 2, settle)).at(-1)).toBe('live live');
  });
});
