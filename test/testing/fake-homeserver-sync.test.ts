import { expect, it } from 'vitest';
import { FakeHomeserver } from '../../src/testing/fake-homeserver/fake-homeserver.js';
import { ManualClock } from '../../src/testing/manual-clock.js';
import { bodies, call, settle, sync } from './fake-homeserver.support.js';

function setUp(options: { stateAfter?: boolean } = {}) {
  const clock = new ManualClock();
  const fake = new FakeHomeserver({ clock, ...options });
  const alice = fake.createUser({ username: 'alice' });
  const bob = fake.createUser({ username: 'bob' });
  const roomId = fake.createRoom({ creator: alice.userId, members: [bob.userId], name: 'Room' });
  return { clock, fake, alice, bob, roomId };
}

it('wakes a long poll at once, for an event, typing, a receipt, account data and an invite', async () => {
  const { clock, fake, alice, bob, roomId } = setUp();
  const eventId = fake.sendMessage(roomId, alice.userId, 'hello');
  let { next_batch: since } = (await sync(fake, bob)).body;
  const tag = `/user/${bob.userId}/account_data/org.test`;
  const wakers: (() => unknown)[] = [
    () => fake.sendMessage(roomId, alice.userId, 'news'),
    () => fake.setTyping(roomId, alice.userId, true),
    () => fake.sendReceipt(roomId, alice.userId, eventId),
    () => call(fake, tag, { method: 'PUT', token: bob.accessToken, body: { a: 1 } }),
    () => fake.invite(fake.createRoom({ creator: alice.userId }), bob.userId),
    () => fake.leave(roomId, bob.userId),
  ];
  for (const wake of wakers) {
    const poll = sync(fake, bob, { since, timeout: '30000' });
    await settle();
    expect(fake.inFlight).toBe(1);
    wake();
    const answer = await poll;
    expect(answer.body.rooms ?? answer.body.account_data).toBeDefined();
    since = answer.body.next_batch;
  }
  expect(clock.now()).toBe(new ManualClock().now());
});

it('answers a long poll with nothing after its timeout, and leaves no timer', async () => {
  const { clock, fake, bob } = setUp();
  const { next_batch: since } = (await sync(fake, bob)).body;
  const poll = sync(fake, bob, { since, timeout: '30000' });
  await clock.advance(29_999);
  expect(fake.inFlight).toBe(1);
  await clock.advance(1);
  expect((await poll).body).toEqual({
    next_batch: since,
    device_one_time_keys_count: { signed_curve25519: 0 },
    device_unused_fallback_key_types: [],
  });
  expect(clock.pendingTimers).toBe(0);
});

it('leaves no timer of a long poll that is aborted, or that close ends', async () => {
  const { clock, fake, bob } = setUp();
  const { next_batch: since } = (await sync(fake, bob)).body;
  const controller = new AbortController();
  const path = `/sync?timeout=30000&since=${since}`;
  const aborted = call(fake, path, { token: bob.accessToken, signal: controller.signal });
  const closed = call(fake, path, { token: bob.accessToken });
  await settle();
  expect(clock.pendingTimers).toBe(2);
  controller.abort();
  await expect(aborted).rejects.toMatchObject({ name: 'AbortError' });
  await settle();
  expect(clock.pendingTimers).toBe(1);
  await fake.close();
  await expect(closed).rejects.toThrow('fetch failed');
  expect(clock.pendingTimers).toBe(0);
});

it('ends typing after its time, and wakes those who wait for that', async () => {
  const { clock, fake, alice, bob, roomId } = setUp();
  fake.setTyping(roomId, alice.userId, true, 5000);
  const { next_batch: since } = (await sync(fake, bob)).body;
  const poll = sync(fake, bob, { since, timeout: '30000' });
  await clock.advance(5000);
  expect((await poll).body.rooms.join[roomId].ephemeral.events).toEqual([
    { type: 'm.typing', content: { user_ids: [] } },
  ]);
});

it('leaves no timer of typing behind when it closes', async () => {
  const { clock, fake, alice, roomId } = setUp();
  fake.setTyping(roomId, alice.userId, true);
  await fake.close();
  expect(clock.pendingTimers).toBe(0);
});

it('cuts incremental timelines when told to, and a page from prev_batch fills the gap', async () => {
  const { fake, alice, bob, roomId } = setUp();
  const { next_batch: since } = (await sync(fake, bob)).body;
  for (let n = 1; n <= 6; n++) fake.sendMessage(roomId, alice.userId, `m${n}`);
  const unlimit = fake.limitTimelines(2);
  const answer = await sync(fake, bob, { since });
  expect(bodies(answer, roomId)).toEqual(['m5', 'm6']);
  const { limited, prev_batch: from } = answer.body.rooms.join[roomId].timeline;
  expect(limited).toBe(true);
  const page = await call(fake, `/rooms/${roomId}/messages?dir=b&from=${from}&to=${since}`, { token: bob.accessToken });
  expect(page.body.chunk.map((event: { content: object }) => event.content)).toMatchObject(
    ['m4', 'm3', 'm2', 'm1'].map((body) => ({ body })),
  );
  unlimit();
  expect(bodies(await sync(fake, bob, { since }), roomId)).toHaveLength(6);
});

it('cuts without saying so when told to, as in synapse#16463', async () => {
  const { fake, alice, bob, roomId } = setUp();
  const { next_batch: since } = (await sync(fake, bob)).body;
  for (let n = 1; n <= 3; n++) fake.sendMessage(roomId, alice.userId, `m${n}`);
  fake.limitTimelines(1, { omitLimited: true });
  const answer = await sync(fake, bob, { since });
  expect(bodies(answer, roomId)).toEqual(['m3']);
  expect(answer.body.rooms.join[roomId].timeline).not.toHaveProperty('limited');
});

it('repeats the answer to an identical initial sync for two minutes when told to', async () => {
  const { clock, fake, alice, bob, roomId } = setUp();
  fake.staleInitialSync = true;
  const first = await sync(fake, bob);
  fake.sendMessage(roomId, alice.userId, 'later');
  expect((await sync(fake, bob)).body).toEqual(first.body);
  expect(bodies(await sync(fake, bob, { timeout: '1' }), roomId)).toEqual(['later']);
  await clock.advance(120_000);
  expect(bodies(await sync(fake, bob), roomId)).toEqual(['later']);
});

it('repeats the answer to any identical sync for two minutes when told to', async () => {
  const { clock, fake, alice, bob, roomId } = setUp();
  const { next_batch: since } = (await sync(fake, bob)).body;
  fake.staleSync = true;
  expect(bodies(await sync(fake, bob, { since }), roomId)).toEqual([]); // an empty one is not repeated
  fake.sendMessage(roomId, alice.userId, 'one');
  expect(bodies(await sync(fake, bob, { since }), roomId)).toEqual(['one']);
  fake.sendMessage(roomId, alice.userId, 'two');
  expect(bodies(await sync(fake, bob, { since }), roomId)).toEqual(['one']);
  expect(bodies(await sync(fake, bob, { since, timeout: '1' }), roomId)).toEqual(['one', 'two']);
  await clock.advance(120_000);
  expect(bodies(await sync(fake, bob, { since }), roomId)).toEqual(['one', 'two']);
});

it('takes no token for another: those of /messages, of another homeserver or altered ones are refused', async () => {
  const { fake, bob, roomId } = setUp();
  const other = setUp();
  const { body } = await call(fake, `/rooms/${roomId}/messages?dir=b&limit=1`, { token: bob.accessToken });
  const { next_batch: since } = (await sync(fake, bob)).body as { next_batch: string };
  const foreign = (await sync(other.fake, other.bob)).body.next_batch;
  for (const token of [body.end, foreign, `${since}x`, since.slice(1), 's1', '']) {
    expect(await sync(fake, bob, { since: token })).toMatchObject({
      status: 400,
      body: { errcode: 'M_UNKNOWN', error: 'Invalid stream token' },
    });
  }
});

it('gives the state after the timeline to those who ask, only when it is switched on', async () => {
  for (const stateAfter of [false, true]) {
    const { fake, alice, bob, roomId } = setUp({ stateAfter });
    const { next_batch: since } = (await sync(fake, bob)).body;
    fake.sendState(roomId, alice.userId, 'm.room.topic', { topic: 'new' });
    const answer = await sync(fake, bob, { since, 'org.matrix.msc4222.use_state_after': 'true' });
    const room = answer.body.rooms.join[roomId];
    expect('state' in room).toBe(!stateAfter);
    expect(room['org.matrix.msc4222.state_after']?.events.length).toBe(stateAfter ? 1 : undefined);
  }
});

it('shows a transaction id to the device that sent, and to no other', async () => {
  const { fake, alice, bob, roomId } = setUp();
  const otherDevice = fake.openSession(alice.userId);
  const body = { msgtype: 'm.text', body: 'mine' };
  await call(fake, `/rooms/${roomId}/send/m.room.message/txn1`, { method: 'PUT', token: alice.accessToken, body });
  const unsigned = async (user: typeof alice) =>
    (await sync(fake, user)).body.rooms.join[roomId].timeline.events.at(-1).unsigned;
  expect(await unsigned(alice)).toMatchObject({ transaction_id: 'txn1' });
  expect(await unsigned(otherDevice)).not.toHaveProperty('transaction_id');
  expect(await unsigned(bob)).not.toHaveProperty('transaction_id');
});

it('tells of rooms joined, left and invited to', async () => {
  const { fake, alice, bob, roomId } = setUp();
  const { next_batch: since } = (await sync(fake, bob)).body;
  const invitedTo = fake.createRoom({ creator: alice.userId, name: 'Invited' });
  fake.invite(invitedTo, bob.userId);
  const joined = fake.createRoom({ creator: alice.userId, members: [bob.userId] });
  fake.leave(roomId, bob.userId);
  fake.sendMessage(roomId, alice.userId, 'not for bob');
  const { rooms } = (await sync(fake, bob, { since })).body;
  expect(Object.keys(rooms.invite)).toEqual([invitedTo]);
  expect(Object.keys(rooms.join)).toEqual([joined]);
  expect(Object.keys(rooms.leave)).toEqual([roomId]);
  expect(rooms.leave[roomId].timeline.events.at(-1).content).toEqual({ membership: 'leave' });
  expect(rooms.invite[invitedTo].invite_state.events).toContainEqual(
    expect.objectContaining({ type: 'm.room.name', content: { name: 'Invited' } }),
  );
});

it('counts what is unread until it is read', async () => {
  const { fake, alice, bob, roomId } = setUp();
  fake.sendMessage(roomId, alice.userId, 'one');
  const last = fake.sendMessage(roomId, alice.userId, {
    msgtype: 'm.text',
    body: '!',
    'm.mentions': { user_ids: [bob.userId] },
  });
  const unread = async () => (await sync(fake, bob)).body.rooms.join[roomId].unread_notifications;
  expect(await unread()).toEqual({ notification_count: 2, highlight_count: 1 });
  fake.sendReceipt(roomId, bob.userId, last);
  expect(await unread()).toEqual({ notification_count: 0, highlight_count: 0 });
});
