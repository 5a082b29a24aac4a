import { afterEach, describe, expect, it } from 'vitest';
import type { ClientEvent, MatrixClientManagerOptions } from '../../src/index.js';
import { managerOnFake } from '../support/manager-on-fake.js';
import { Recorder } from '../support/recorder.js';

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});

async function setUp(options: Partial<MatrixClientManagerOptions> = {}) {
  const deployment = managerOnFake(options);
  const { fake, manager } = deployment;
  open.push(fake, manager);
  const alice = fake.createUser({ username: 'alice' });
  const bob = fake.createUser({ username: 'bob' });
  const [bad = '', good = ''] = ['bad', 'good'].map(() =>
    fake.createRoom({ creator: alice.userId, members: [bob.userId] }),
  );
  /** Changes answers of syncs that tell of `good`, beginning with the next one: the poll under way has passed the faults. */
  const rewriteSyncs = async (change: (sync: Sync) => unknown): Promise<void> => {
    fake.faults.rewrite({ endpoint: '/sync' }, (body) => {
      const sync = body as Sync;
      return sync.rooms?.join?.[good] ? change(sync) : sync;
    });
    fake.setTyping(bad, bob.userId, true);
    await deployment.clock.advance(1_000);
  };
  return { ...deployment, alice, bob, bad, good, rewriteSyncs };
}

type Sync = { rooms?: { join?: Record<string, Record<string, unknown>> } & Record<string, unknown> } & Record<
  string,
  unknown
>;

const event = { type: 'm.room.message', event_id: '$x', sender: '@bob:hs.test', origin_server_ts: 1, content: {} };
const member = (content: unknown): object => ({ ...event, type: 'm.room.member', state_key: '@eve:hs.test', content });

/** Parts of one room, and whether they are counted: null is how some homeservers write that there is nothing. */
const roomParts: [string, unknown, boolean][] = [
  ['a room that is null', null, true],
  ['a room that is a list', [], true],
  ['a room that is a text', 'x', true],
  ['a timeline that is null', { timeline: null }, false],
  ['a timeline that is a number', { timeline: 1 }, true],
  ['events that are null', { timeline: { events: null } }, false],
  ['events that are an object', { timeline: { events: {} } }, true],
  ['an event that is null', { timeline: { events: [null] } }, true],
  ['an event without a type', { timeline: { events: [{ ...event, type: undefined }] } }, true],
  ['an event without a sender', { timeline: { events: [{ ...event, sender: undefined }] } }, true],
  ['an event without an id', { timeline: { events: [{ ...event, event_id: undefined }] } }, true],
  ['an event without a content', { timeline: { events: [{ ...event, content: undefined }] } }, true],
  ['an event with the wrong types', { timeline: { events: [{ ...event, sender: 1, content: [] }] } }, true],
  ['state that is null', { state: null }, false],
  ['state events that are null', { state: { events: null } }, false],
  ['state that is a list', { state: [] }, true],
  ['state_after that is null', { 'org.matrix.msc4222.state_after': null }, false],
  ['state_after that is a text', { 'org.matrix.msc4222.state_after': '' }, true],
  ['a member without a content', { state: { events: [member(null)] } }, true],
  ['a member whose name is a number', { state: { events: [member({ membership: 'join', displayname: 1 })] } }, true],
  ['a member whose membership is an object', { state: { events: [member({ membership: {} })] } }, true],
  ['ephemeral events that are null', { ephemeral: { events: null } }, false],
  ['an ephemeral section that is a number', { ephemeral: 2 }, true],
  ['typing without users', { ephemeral: { events: [{ type: 'm.typing', content: { user_ids: null } }] } }, false],
  [
    'receipts of null',
    { ephemeral: { events: [{ type: 'm.receipt', content: { $a: null, $b: { 'm.read': 1 } } }] } },
    false,
  ],
  ['account data that is null', { account_data: null }, false],
  ['account data events that are text', { account_data: { events: 'x' } }, true],
  ['a summary that is null', { summary: null }, false],
  ['a summary of texts', { summary: { 'm.joined_member_count': 'many', 'm.heroes': [1, null] } }, true],
  ['heroes that are null', { summary: { 'm.heroes': null } }, false],
  ['unread counts that are null', { unread_notifications: null }, false],
  ['unread counts of objects', { unread_notifications: { notification_count: {} } }, true],
  ['thread counts of null', { unread_thread_notifications: { $a: null } }, false],
];
const globalParts: [string, (sync: Sync) => unknown, boolean][] = [
  ['account data that is null', (sync) => ({ ...sync, account_data: null }), false],
  ['account data events that are null', (sync) => ({ ...sync, account_data: { events: null } }), false],
  ['account data that is a list', (sync) => ({ ...sync, account_data: [] }), true],
  ['account data of null', (sync) => ({ ...sync, account_data: { events: [null] } }), true],
  ['push rules of null', (sync) => pushRules(sync, { global: null }), false],
  ['push rules of numbers', (sync) => pushRules(sync, { global: { override: [1, null], content: 5 } }), false],
  ['presence that is null', (sync) => ({ ...sync, presence: null }), false],
  [
    'presence of null',
    (sync) => ({ ...sync, presence: { events: [null, { type: 'm.presence', content: {} }] } }),
    true,
  ],
  ['to_device that is null', (sync) => ({ ...sync, to_device: null }), false],
  ['to_device events of null', (sync) => ({ ...sync, to_device: { events: [null, { content: 1 }] } }), true],
  ['device lists that are null', (sync) => ({ ...sync, device_lists: null }), false],
  ['device lists of null', (sync) => ({ ...sync, device_lists: { changed: null, left: [null] } }), true],
  ['key counts that are texts', (sync) => ({ ...sync, device_one_time_keys_count: { signed_curve25519: 'x' } }), true],
  ['fallback keys that are an object', (sync) => ({ ...sync, device_unused_fallback_key_types: {} }), true],
  ['user profiles of null', (sync) => ({ ...sync, users: { '@eve:hs.test': null } }), false],
  ['invitations that are null', (sync) => ({ ...sync, rooms: { ...sync.rooms, invite: null } }), false],
  ['an invitation of null', (sync) => ({ ...sync, rooms: { ...sync.rooms, invite: { '!i:hs.test': null } } }), true],
  [
    'an invitation without state',
    (sync) => ({ ...sync, rooms: { ...sync.rooms, invite: { '!i:hs.test': { invite_state: { events: null } } } } }),
    false,
  ],
  [
    'an invitation of a name that is a number',
    (sync) => ({
      ...sync,
      rooms: { ...sync.rooms, invite: { '!i:hs.test': { invite_state: { events: [named(1)] } } } },
    }),
    false,
  ],
  ['a knock of null', (sync) => ({ ...sync, rooms: { ...sync.rooms, knock: { '!k:hs.test': null } } }), true],
  ['left rooms that are null', (sync) => ({ ...sync, rooms: { ...sync.rooms, leave: null } }), false],
  ['a left room of null', (sync) => ({ ...sync, rooms: { ...sync.rooms, leave: { '!l:hs.test': null } } }), true],
  [
    'a left room of null parts',
    (sync) => ({ ...sync, rooms: { ...sync.rooms, leave: { '!l:hs.test': { timeline: null, state: null } } } }),
    false,
  ],
];

function pushRules(sync: Sync, content: object): unknown {
  return { ...sync, account_data: { events: [{ type: 'm.push_rules', content }] } };
}

function named(name: unknown): object {
  return { type: 'm.room.name', state_key: '', sender: '@bob:hs.test', content: { name } };
}

describe.each([false, true])('a part of a sync that is not Matrix costs that part (somebody looks: %s)', (observed) => {
  /** Resolves to how many parts were counted, when all else has come. */
  async function hold(change: (sync: Sync, bad: string) => unknown): Promise<number> {
    const { clock, fake, manager, soon, alice, bob, bad, good, rewriteSyncs } = await setUp();
    const recorder = new Recorder();
    await soon(manager.startClient({ ...alice, callbacks: [recorder.callback] }));
    if (observed) manager.getClient(alice.userId);
    const states: string[] = [];
    manager.on('clientStateChanged', ({ to }) => void states.push(to));
    await rewriteSyncs((sync) => change(sync, bad));
    const before = manager.stats().malformedParts;
    fake.sendMessage(good, bob.userId, 'hello');
    fake.sendState(good, alice.userId, 'm.room.name', { name: 'the good one' });
    await clock.advance(1_000);
    expect(recorder.bodies()).toEqual(['hello']);
    expect(states).toEqual([]);
    const client = manager.getClient(alice.userId);
    expect(client?.getRoom(good)?.name).toBe('the good one');
    const counted = manager.stats().malformedParts - before;
    fake.faults.clear();
    fake.sendMessage(bad, bob.userId, 'and on');
    await clock.advance(1_000);
    expect(recorder.bodies()).toContain('and on');
    expect(client?.getRoom(bad)?.getMember(bob.userId)).not.toBeNull();
    return counted;
  }

  it.each(roomParts)('%s', async (_what, part, isCounted) => {
    const counted = await hold((sync, bad) => {
      const join = { [bad]: part, ...sync.rooms?.join } as never; // the bad one first
      return { ...sync, rooms: { ...sync.rooms, join } };
    });
    expect(counted > 0 || !isCounted).toBe(true);
  });

  it.each(globalParts)('%s', async (_what, change, isCounted) => {
    const counted = await hold((sync) => change(sync));
    expect(counted > 0 || !isCounted).toBe(true);
  });
});

describe('a start', () => {
  it.each([true, false])('survives sections that are null (slidingSync: %s)', async (slidingSync) => {
    const { clock, fake, manager, soon, alice, bob, good } = await setUp({ slidingSync });
    fake.faults.rewrite({ endpoint: '/sync', times: 1 }, (body) => ({
      ...(body as Sync),
      account_data: null,
      to_device: { events: null },
      rooms: {
        ...(body as Sync).rooms,
        invite: null,
        leave: null,
        join: { ...(body as Sync).rooms?.join, '!n:a': null },
      },
    }));
    const recorder = new Recorder();
    await soon(manager.startClient({ ...alice, callbacks: [recorder.callback] }));
    fake.sendMessage(good, bob.userId, 'hello');
    await clock.advance(1_000);
    expect(recorder.bodies()).toEqual(['hello']);
    expect(manager.clientInfo(alice.userId)).toMatchObject({ state: 'live' });
  });

  const sliding: [string, (body: Record<string, unknown>, bad: string) => unknown][] = [
    ['rooms that are null', (body) => ({ ...body, rooms: null })],
    ['lists that are null', (body) => ({ ...body, lists: null })],
    ['extensions that are null', (body) => ({ ...body, extensions: null })],
    ['an extension of null', (body) => ({ ...body, extensions: { receipts: null, typing: { rooms: [] } } })],
    ['a room that is null', (body, bad) => ({ ...body, rooms: { ...(body.rooms as object), [bad]: null } })],
    [
      'a room of the wrong types',
      (body, bad) => ({ ...body, rooms: { ...(body.rooms as object), [bad]: { timeline: 1 } } }),
    ],
    [
      'keys that are no rooms',
      (body) => ({ ...body, rooms: { ...(body.rooms as object), toString: {}, constructor: {} } }),
    ],
    [
      'heroes and counts of null',
      (body) => ({
        ...body,
        rooms: Object.fromEntries(
          Object.entries(body.rooms as object).map(([roomId, room]) => [
            roomId,
            { ...(room as object), heroes: [null], joined_count: null, limited: null, prev_batch: null },
          ]),
        ),
      }),
    ],
  ];

  it.each(sliding)('by sliding sync survives %s, and comes to know every room', async (_what, change) => {
    const { clock, fake, manager, soon, alice, bob, bad, good } = await setUp({ slidingSync: true });
    fake.faults.rewrite({ endpoint: '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync' }, (body) =>
      change(body as Record<string, unknown>, bad),
    );
    const recorder = new Recorder();
    await soon(manager.startClient({ ...alice, callbacks: [recorder.callback] }));
    await clock.advance(60_000);
    for (const roomId of [bad, good]) fake.sendMessage(roomId, bob.userId, 'hello');
    await clock.advance(60_000);
    expect(recorder.bodies()).toEqual(['hello', 'hello']);
    const client = manager.getClient(alice.userId);
    for (const roomId of [bad, good]) expect(client?.getRoom(roomId)?.getMyMembership()).toBe('join');
  });

  it.each([[null], [{}], ['x'], [[null, 'constructor', 1]]])('survives %j in place of /joined_rooms', async (rooms) => {
    const { clock, fake, manager, soon, alice, bob } = await setUp({ slidingSync: true });
    const roomIds = Array.from({ length: 25 }, () => fake.createRoom({ creator: alice.userId, members: [bob.userId] }));
    fake.faults.rewrite({ endpoint: '/joined_rooms', times: 2 }, () => ({ joined_rooms: rooms }));
    const recorder = new Recorder();
    await soon(manager.startClient({ ...alice, callbacks: [recorder.callback] }));
    await clock.advance(60_000);
    for (const roomId of roomIds) fake.sendMessage(roomId, bob.userId, 'hello');
    await clock.advance(60_000);
    expect(recorder.bodies()).toHaveLength(25);
  });
});

it('pages leave out what is no event, and count it', async () => {
  const { fake, manager, alice, bob, good } = await setUp();
  fake.sendMessage(good, bob.userId, 'hello');
  await manager.provisionUser({ username: 'alice' });
  const mend = fake.faults.rewrite({ endpoint: '/rooms/{roomId}/messages' }, (body) => {
    const { chunk, ...page } = body as { chunk: unknown[] };
    return { ...page, chunk: [null, { ...event, sender: 1 }, { ...event, content: null }, 'x', ...chunk] };
  });
  const { messages } = await manager.getRoomMessages(good, 10, undefined, alice.userId);
  expect(messages.map(({ content }) => content.body)).toEqual(['hello']);
  expect(manager.stats().malformedParts).toBeGreaterThanOrEqual(4);
  mend();
  fake.faults.rewrite({ endpoint: '/rooms/{roomId}/messages' }, () => ({ chunk: null }));
  expect(await manager.getRoomMessages(good, 10, undefined, alice.userId)).toMatchObject({ messages: [] });
});

describe('getClient() and withClient()', () => {
  const receipts = (content: unknown): object => ({ type: 'm.receipt', content });
  const held: [string, object][] = [
    ['a receipt of null', receipts({ $e: { 'm.read': { '@eve:hs.test': null } } })],
    ['a receipt of text', receipts({ $e: { 'm.read': { '@eve:hs.test': 'x' } } })],
    [
      'a receipt of a thread of its own kind',
      receipts({ $e: { 'm.read': { '@eve:hs.test': { ts: 1, thread_id: {} } } } }),
    ],
    ['receipts of null', receipts({ $e: null, $f: { 'm.read': null } })],
    ['typing of null', { type: 'm.typing', content: { user_ids: [null, 1, {}] } }],
  ];
  const messages: [string, object][] = [
    ['a reaction without a target', { type: 'm.reaction', content: { 'm.relates_to': null } }],
    ['a reaction by a key that objects have', reaction('__proto__')],
    ['a reaction by another key that objects have', reaction('constructor')],
    ['a reaction by an object', reaction({})],
    ['an edit of nothing', { content: { 'm.relates_to': { rel_type: 'm.replace', event_id: null } } }],
    ['a relation of wrong types', { content: { 'm.relates_to': { rel_type: 1, event_id: {}, 'm.in_reply_to': 1 } } }],
    ['a redaction of nothing', { type: 'm.room.redaction', content: { redacts: {} } }],
    ['unsigned data that is text', { unsigned: 'x' }],
    ['unsigned data of null', { unsigned: { redacted_because: null, 'm.relations': null, prev_content: 1, age: {} } }],
    ['a sender that objects have', { sender: 'constructor' }],
    ['an id that objects have', { event_id: '__proto__' }],
    ['a beacon of null', { type: 'org.matrix.msc3672.beacon', content: { 'm.relates_to': null } }],
    ['a poll of null', { type: 'm.poll.start', content: { 'm.poll': null } }],
  ];

  function reaction(key: unknown): object {
    return { type: 'm.reaction', content: { 'm.relates_to': { rel_type: 'm.annotation', event_id: '$e', key } } };
  }

  it.each([
    ...held.map(([what, part]) => [what, { ephemeral: { events: [part] } }] as const),
    ...messages.map(([what, part]) => [what, { timeline: { events: [{ ...event, ...part }] } }] as const),
  ])('know all rooms beside one with %s', async (_what, part) => {
    const { clock, fake, manager, soon, alice, bob, bad, good, rewriteSyncs } = await setUp();
    await soon(manager.startClient(alice));
    await rewriteSyncs((sync) => ({
      ...sync,
      rooms: { ...sync.rooms, join: { [bad]: part, ...sync.rooms?.join } },
    }));
    const eventId = fake.sendMessage(good, bob.userId, 'hello');
    fake.sendReceipt(good, bob.userId, eventId);
    await clock.advance(1_000);
    fake.faults.clear();
    const other = fake.sendMessage(bad, bob.userId, 'beside it');
    await clock.advance(1_000);
    const client = await soon(manager.withClient(alice.userId, async (client) => client));
    await clock.advance(0);
    const room = client.getRoom(good);
    expect(room?.findEventById(eventId)?.getContent().body).toBe('hello');
    expect(room?.getEventReadUpTo(bob.userId)).toBe(eventId);
    expect(client.getRoom(bad)?.findEventById(other)?.getContent().body).toBe('beside it');
    expect(manager.getClient(alice.userId)).toBe(client);
  });

  it('set no prototype by a receipt of a federated server', async () => {
    const { clock, fake, manager, soon, alice, bob, bad, good, rewriteSyncs } = await setUp();
    await soon(manager.startClient(alice));
    const text = '{"__proto__":{"get":{"@m:evil.test":{"ts":1}},"__proto__":{"set":{"ts":1}}}}';
    const content = JSON.parse(text) as object;
    await rewriteSyncs((sync) => ({
      ...sync,
      rooms: { join: { ...sync.rooms?.join, [bad]: { ephemeral: { events: [receipts(content)] } } } },
    }));
    fake.sendMessage(good, bob.userId, 'hello');
    await clock.advance(1_000);
    expect(manager.getClient(alice.userId)?.getRoom(bad)).toBeTruthy();
    expect(Object.getOwnPropertyNames(Object.prototype)).not.toContain('get');
    expect(({} as { get?: unknown }).get).toBeUndefined();
  });
});

describe('content that is nested 20,000 levels', () => {
  const levels = 20_000;
  const deep = `${'{"a":['.repeat(levels / 2)}1${']}'.repeat(levels / 2)}`;

  /** What the fake would have to write by recursion is put into its answers as text. */
  async function setUpDeep(options: Partial<MatrixClientManagerOptions> = {}) {
    const deployment = managerOnFake({
      ...options,
      fetch: async (input, init) => {
        const response = await deployment.fake.fetch(input, init);
        const text = (await response.text()).replaceAll('"DEEP"', deep);
        return new Response(text, { status: response.status, headers: response.headers });
      },
    });
    const { fake, manager } = deployment;
    open.push(fake, manager);
    const alice = fake.createUser({ username: 'alice' });
    const bob = fake.createUser({ username: 'bob' });
    const roomId = fake.createRoom({ creator: alice.userId, members: [bob.userId] });
    return { ...deployment, alice, bob, roomId };
  }

  const depthOf = (event: ClientEvent | undefined): number => {
    let depth = 0;
    let value: unknown = event && 'content' in event ? event.content.x : undefined;
    for (; typeof value === 'object' && value !== null; depth++) value = Object.values(value)[0];
    return depth;
  };

  it('is delivered, in its order, and the client is to be had', async () => {
    const { clock, fake, manager, soon, alice, bob, roomId } = await setUpDeep();
    const recorder = new Recorder();
    await soon(manager.startClient({ ...alice, callbacks: [recorder.callback] }));
    fake.sendMessage(roomId, bob.userId, { msgtype: 'm.text', body: 'deep', x: 'DEEP' });
    fake.sendState(roomId, alice.userId, 'org.example.deep', { x: 'DEEP' });
    fake.sendMessage(roomId, bob.userId, 'after');
    await clock.advance(1_000);
    expect(recorder.bodies()).toEqual(['deep', 'after']);
    expect(recorder.events.filter((event) => 'content' in event && 'x' in event.content).map(depthOf)).toEqual([
      levels,
      levels,
    ]);
    const room = manager.getClient(alice.userId)?.getRoom(roomId);
    await clock.advance(0);
    expect(room?.getLiveTimeline().getEvents().at(-1)?.getContent().body).toBe('after');
    const page = await soon(manager.getRoomMessages(roomId, 10, undefined, alice.userId));
    expect(page.messages.map(({ content }) => content.body)).toEqual(['after', 'deep']);
    await soon(manager.stopClient(alice.userId));
    await soon(manager.startClient({ userId: alice.userId }));
    fake.sendMessage(roomId, bob.userId, 'resumed');
    await clock.advance(1_000);
    expect(manager.clientInfo(alice.userId)).toMatchObject({ state: 'live' });
  });

  it('becomes a dead letter where the callback cannot take it, and can be had from there', async () => {
    const { clock, fake, manager, soon, alice, bob, roomId } = await setUpDeep();
    const got: unknown[] = [];
    const stringify = (event: ClientEvent): void => void got.push(JSON.stringify(event));
    await soon(manager.startClient({ ...alice, callbacks: [stringify] }));
    fake.sendMessage(roomId, bob.userId, { msgtype: 'm.text', body: 'deep', x: 'DEEP' });
    fake.sendMessage(roomId, bob.userId, 'after');
    await clock.advance(120_000);
    expect(got).toEqual([expect.stringContaining('after')]);
    const letters = await manager.deadLetters(alice.userId);
    expect(letters).toHaveLength(1);
    expect(letters[0]?.error).toMatchObject({ name: 'RangeError' });
    expect(depthOf(letters[0]?.event)).toBe(levels);
  });

  it('is read on pages, and as history that was missed', async () => {
    const { clock, fake, manager, soon, alice, bob, roomId } = await setUpDeep({ timelineLimit: 5 });
    await soon(manager.startClient(alice));
    await soon(manager.stopClient(alice.userId));
    for (let n = 0; n < 20; n++) fake.sendMessage(roomId, bob.userId, { msgtype: 'm.text', body: `${n}`, x: 'DEEP' });
    const page = await soon(manager.getRoomMessages(roomId, 20, undefined, alice.userId));
    expect(page.messages).toHaveLength(20);
    const recorder = new Recorder();
    await soon(manager.startClient({ userId: alice.userId, callbacks: [recorder.callback] }));
    await clock.advance(1_000);
    expect(recorder.bodies()).toEqual(Array.from({ length: 20 }, (_, n) => `${n}`));
  });

  it('in account data, receipts and messages to the device costs nothing but itself', async () => {
    const { clock, fake, manager, soon, alice, bob, roomId } = await setUpDeep();
    const recorder = new Recorder();
    await soon(manager.startClient({ ...alice, callbacks: [recorder.callback] }));
    fake.faults.rewrite({ endpoint: '/sync' }, (body) => {
      const sync = body as Sync;
      const section = sync.rooms?.join?.[roomId];
      if (!section) return sync;
      section.ephemeral = {
        events: [{ type: 'm.receipt', content: { $e: { 'm.read': { '@e:hs.test': { ts: 1, x: 'DEEP' } } } } }],
      };
      section.account_data = { events: [{ type: 'org.example', content: { x: 'DEEP' } }] };
      const account = { type: 'org.example', content: { x: 'DEEP' } };
      const device = { type: 'm.room.encrypted', sender: bob.userId, content: { x: 'DEEP' } };
      return { ...sync, account_data: { events: [account] }, to_device: { events: [device] } };
    });
    fake.sendMessage(roomId, bob.userId, 'ends the poll under way');
    await clock.advance(1_000);
    fake.sendMessage(roomId, bob.userId, 'hello');
    await clock.advance(1_000);
    expect(recorder.bodies()).toEqual(['ends the poll under way', 'hello']);
    expect(recorder.events.some(({ type }) => type === 'receipt')).toBe(true);
    expect(manager.getClient(alice.userId)?.getRoom(roomId)).toBeTruthy();
    expect(manager.clientInfo(alice.userId)).toMatchObject({ state: 'live' });
  });
});
