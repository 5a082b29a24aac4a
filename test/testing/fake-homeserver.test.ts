import { expect, it } from 'vitest';
import { FakeHomeserver } from '../../src/testing/fake-homeserver/fake-homeserver.js';
import { call, sync } from './fake-homeserver.support.js';

function setUp() {
  const fake = new FakeHomeserver();
  const alice = fake.createUser({ username: 'alice' });
  const bob = fake.createUser({ username: 'bob', displayName: 'Bob' });
  const roomId = fake.createRoom({ creator: alice.userId, members: [bob.userId] });
  const send = (txnId: string, content: object = { msgtype: 'm.text', body: txnId }, user = alice) =>
    call(fake, `/rooms/${roomId}/send/m.room.message/${txnId}`, {
      method: 'PUT',
      token: user.accessToken,
      body: content,
    });
  return { fake, alice, bob, roomId, send };
}

it('keeps to the rules of rooms when driven without HTTP', () => {
  const { fake, alice, bob, roomId } = setUp();
  const carol = fake.createUser({ username: 'carol' });
  expect(() => fake.sendMessage(roomId, carol.userId, 'x')).toThrow(`User ${carol.userId} not in room ${roomId}`);
  expect(() => fake.sendState(roomId, bob.userId, 'm.room.name', {})).toThrow("You don't have permission to post that");
  expect(() => fake.sendMessage(roomId, alice.userId, { n: 1.5 })).toThrow('Bad JSON value: float');
  expect(() => fake.sendMessage('!nowhere:hs.test', alice.userId, 'x')).toThrow('expected the id of a room');
  expect(() => fake.createUser({ username: 'alice' })).toThrow('expected a user id that is not in use');
  fake.kick(roomId, bob.userId);
  expect(() => fake.sendMessage(roomId, bob.userId, 'x')).toThrow('not in room');
});

it('gives a room’s events in order, and its history as a user may read it', () => {
  const { fake, alice, bob, roomId } = setUp();
  const first = fake.sendMessage(roomId, alice.userId, 'first');
  fake.leave(roomId, bob.userId);
  const second = fake.sendMessage(roomId, alice.userId, 'second');
  const ids = fake.events(roomId).map(({ eventId }) => eventId);
  expect(ids.indexOf(first)).toBeLessThan(ids.indexOf(second));
  expect(fake.history(roomId)[0]?.eventId).toBe(second);
  expect(fake.history(roomId, bob.userId).map(({ eventId }) => eventId)).toContain(first);
  expect(fake.history(roomId, bob.userId).map(({ eventId }) => eventId)).not.toContain(second);
});

it('sends once for each transaction of a device, and anew for another device', async () => {
  const { fake, alice, roomId, send } = setUp();
  const first = await send('t1');
  expect((await send('t1')).body).toEqual(first.body);
  const other = await send('t1', undefined, fake.openSession(alice.userId));
  expect(other.body.event_id).not.toBe(first.body.event_id);
  expect(fake.events(roomId).filter(({ type }) => type === 'm.room.message')).toHaveLength(2);
});

it('remembers no transaction that failed', async () => {
  const { send } = setUp();
  expect(await send('t1', { body: 1.5 })).toMatchObject({ status: 400, body: { errcode: 'M_BAD_JSON' } });
  expect((await send('t1')).status).toBe(200);
});

it('shows redactions and edits in what was said before', async () => {
  const { fake, alice, bob, roomId } = setUp();
  const [first, second] = [
    fake.sendMessage(roomId, alice.userId, 'one'),
    fake.sendMessage(roomId, alice.userId, 'two'),
  ];
  const edit = (body: string) => ({
    msgtype: 'm.text',
    body: `* ${body}`,
    'm.new_content': { msgtype: 'm.text', body },
    'm.relates_to': { rel_type: 'm.replace', event_id: first },
  });
  fake.sendMessage(roomId, alice.userId, edit('uno'));
  const latest = fake.sendMessage(roomId, alice.userId, edit('eins'));
  fake.sendMessage(roomId, bob.userId, edit('not his to edit'));
  fake.redact(roomId, alice.userId, second, 'why not');
  const { body } = await call(fake, `/rooms/${roomId}/messages?dir=b&limit=10`, { token: bob.accessToken });
  const find = (eventId: string) => body.chunk.find((event: { event_id: string }) => event.event_id === eventId);
  expect(find(first)).toMatchObject({
    content: { body: 'one' },
    unsigned: { 'm.relations': { 'm.replace': { event_id: latest, content: { 'm.new_content': { body: 'eins' } } } } },
  });
  expect(find(second).content).toEqual({});
  expect(find(second).unsigned.redacted_because.content).toEqual({ reason: 'why not', redacts: second });
});

it('logs requests without their secrets', async () => {
  const { fake, alice } = setUp();
  await call(fake, `/sync?timeout=0&access_token=${alice.accessToken}`);
  await call(fake, '/login', {
    method: 'POST',
    body: { type: 'm.login.password', identifier: { type: 'm.id.user', user: 'alice' }, password: 'hunter2' },
  });
  expect(fake.requests).toMatchObject([
    { method: 'GET', path: '/_matrix/client/v3/sync', endpoint: '/sync', userId: alice.userId, status: 200 },
    { method: 'POST', endpoint: '/login', userId: undefined, status: 403, body: { password: '[hidden]' } },
  ]);
  expect(fake.requests[0]?.query).toEqual({ timeout: '0' });
  expect(JSON.stringify(fake.requests)).not.toMatch(new RegExp(`hunter2|${alice.accessToken}`));
});

it('counts requests by endpoint or predicate, since the last clearing', async () => {
  const { fake, alice } = setUp();
  await sync(fake, alice);
  await sync(fake, alice);
  await call(fake, '/devices', { token: alice.accessToken });
  expect(fake.countRequests('/sync')).toBe(2);
  expect(fake.countRequests(({ userId }) => userId === alice.userId)).toBe(3);
  fake.clearRequests();
  expect(fake.countRequests('/sync')).toBe(0);
});

it('renames users in their rooms', async () => {
  const { fake, bob, roomId } = setUp();
  fake.setDisplayName(bob.userId, 'Robert');
  expect(fake.events(roomId).at(-1)).toMatchObject({ type: 'm.room.member', content: { displayname: 'Robert' } });
});

it('is quick with thousands of users and a hundred thousand events in a room', async () => {
  const fake = new FakeHomeserver();
  const users = Array.from({ length: 2000 }, () => fake.createUser());
  const [alice = fake.admin, bob = fake.admin] = users;
  const roomId = fake.createRoom({ creator: alice.userId, members: users.slice(1).map(({ userId }) => userId) });
  for (let n = 0; n < 100_000; n++) fake.sendMessage(roomId, alice.userId, `m${n}`);
  let since = (await sync(fake, bob)).body.next_batch;
  const start = performance.now();
  for (let n = 0; n < 100; n++) {
    fake.sendMessage(roomId, alice.userId, 'new');
    const answer = await sync(fake, bob, { since });
    expect(answer.body.rooms.join[roomId].timeline.events).toHaveLength(1);
    since = answer.body.next_batch;
  }
  // about 40 ms; what grew with the room would take seconds
  expect(performance.now() - start).toBeLessThan(2000);
});
