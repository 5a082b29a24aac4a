import { describe, expect, it } from 'vitest';
import { managerOnFake } from '../support/manager-on-fake.js';
import { rejection } from '../support/rejection.js';

const DATA = '/user/{userId}/account_data/{type}';

async function oneUser() {
  const setUp = managerOnFake();
  const { userId } = await setUp.manager.provisionUser({ username: 'alice' });
  return { ...setUp, userId };
}

describe('account data', () => {
  it.each([
    ['a list', []],
    ['text', 'text'],
    ['an unpaired surrogate', { a: '\ud800' }],
    ['a function', { a: () => {} }],
    ['more than 64 KiB', { a: 'x'.repeat(70_000) }],
  ])('is not sent if its content is %s', async (_kind, content) => {
    const { manager, userId, count } = await oneUser();
    const set = manager.setAccountData({ userId, type: 'org.example', content: content as never });
    expect(await rejection(set)).toMatchObject({ code: 'INVALID_OPTIONS' });
    expect(count(DATA, 'PUT')).toBe(0);
  });

  it('of a type that the homeserver keeps for itself is refused', async () => {
    const { manager, userId, fake } = await oneUser();
    const roomId = fake.createRoom({ creator: userId });
    const set = manager.setAccountData({ userId, roomId, type: 'm.fully_read', content: {} });
    expect(await rejection(set)).toMatchObject({ status: 405, userId, roomId });
  });

  it('keeps a key __proto__ as a key', async () => {
    const { manager, userId } = await oneUser();
    const content = JSON.parse('{"__proto__": {"a": 1}}') as Record<string, unknown>;
    await manager.setAccountData({ userId, type: 'org.example', content });
    const read = await manager.getAccountData({ userId, type: 'org.example' });
    expect(Object.getPrototypeOf(read)).toBe(Object.prototype);
    expect(JSON.stringify(read)).toBe('{"__proto__":{"a":1}}');
  });
});

describe('the tags of a room', () => {
  it.each([[-0.1], [1.1], [Number.NaN], ['1']])('have no order %j', async (order) => {
    const { manager, userId, fake } = await oneUser();
    const roomId = fake.createRoom({ creator: userId });
    const set = manager.setTag({ userId, roomId, tag: 'u.work', order: order as number });
    expect(await rejection(set)).toMatchObject({ code: 'INVALID_OPTIONS' });
  });

  it('are read from any response', async () => {
    const { manager, userId, fake } = await oneUser();
    const roomId = fake.createRoom({ creator: userId });
    const endpoint = '/user/{userId}/rooms/{roomId}/tags';
    const body = JSON.parse(
      '{"tags": {"a": null, "b": {"order": "1"}, "c": 5, "__proto__": {"order": 0.5}}}',
    ) as object;
    fake.faults.wrongTypes({ endpoint }, body);
    expect([...(await manager.getTags({ userId, roomId }))]).toEqual([
      ['a', undefined],
      ['b', undefined],
      ['c', undefined],
      ['__proto__', 0.5],
    ]);
  });
});

describe('the list of ignored users', () => {
  it.each([
    [{ ignore: ['@bob:hs.test'], unignore: ['@bob:hs.test'] }],
    [{ ignore: ['@alice:hs.test'] }],
    [{ ignore: '@bob:hs.test' as never }],
  ])('takes no contradiction: %j', async (change) => {
    const { manager, userId, count } = await oneUser();
    expect(await rejection(manager.ignoreUsers({ userId, ...change }))).toMatchObject({ code: 'INVALID_OPTIONS' });
    expect(count(DATA)).toBe(0);
  });

  it('takes ids of users only', async () => {
    const { manager, userId } = await oneUser();
    expect(await rejection(manager.ignoreUsers({ userId, ignore: ['bob'] }))).toMatchObject({
      code: 'INVALID_USER_ID',
    });
  });

  it.each([[{ ignored_users: [] }], [{ ignored_users: 'all' }], [{}]])('begins anew after %j', async (content) => {
    const { manager, userId } = await oneUser();
    await manager.setAccountData({ userId, type: 'm.ignored_user_list', content });
    expect(await manager.ignoreUsers({ userId, ignore: ['@__proto__:hs.test'] })).toEqual(['@__proto__:hs.test']);
  });

  it('is not replaced if it cannot be read', async () => {
    const { manager, userId, fake, count } = await oneUser();
    const forbidden = { status: 403, body: { errcode: 'M_FORBIDDEN' } };
    fake.faults.status({ endpoint: DATA, method: 'GET' }, forbidden);
    const change = manager.ignoreUsers({ userId, ignore: ['@bob:hs.test'] });
    expect(await rejection(change)).toMatchObject({ code: 'FORBIDDEN' });
    expect(count(DATA, 'PUT')).toBe(0);
  });

  it('is read from a proxy that knows no such endpoint as a failure, not as empty', async () => {
    const { manager, userId, fake, count } = await oneUser();
    fake.faults.status({ endpoint: DATA, method: 'GET' }, { status: 404, body: { errcode: 'M_SOMETHING' } });
    expect(await rejection(manager.ignoreUsers({ userId, ignore: ['@bob:hs.test'] }))).toMatchObject({ status: 404 });
    expect(count(DATA, 'PUT')).toBe(0);
  });

  it('loses nothing to setAccountData() at the same time', async () => {
    const { manager, userId } = await oneUser();
    const type = 'm.ignored_user_list';
    const content = { ignored_users: { '@old:hs.test': {} } };
    await Promise.all([
      manager.setAccountData({ userId, type, content }),
      manager.ignoreUsers({ userId, ignore: ['@bob:hs.test'] }),
    ]);
    expect(await manager.ignoreUsers({ userId })).toEqual(['@old:hs.test', '@bob:hs.test']);
  });

  it('that is only read leaves the timelines in memory', async () => {
    const { manager, userId, fake, count } = await oneUser();
    const roomId = fake.createRoom({ creator: userId });
    await manager.startClient({ userId, callbacks: [() => {}] });
    fake.sendMessage(roomId, userId, 'a');
    const source = async () => (await manager.getRoomMessages({ userId, roomId, limit: 1 })).source;
    await expect.poll(source).toBe('synced');
    await manager.ignoreUsers({ userId });
    fake.faults.status({ endpoint: DATA, method: 'PUT' }, { status: 403, body: { errcode: 'M_FORBIDDEN' } });
    expect(await source()).toBe('synced');
    await rejection(manager.ignoreUsers({ userId, ignore: ['@bob:hs.test'] }));
    fake.sendMessage(roomId, userId, 'b');
    await expect.poll(source).toBe('synced');
    expect(count(DATA, 'PUT')).toBe(1);
  });

  it('hides a message whose sync is still on its way when the list has changed', async () => {
    const { manager, userId, fake, soon, clock } = await oneUser();
    const bob = fake.createUser({ username: 'bob' }).userId;
    const roomId = fake.createRoom({ creator: userId, members: [bob] });
    await manager.startClient({ userId, callbacks: [() => {}] });
    fake.faults.latency({ endpoint: '/sync', times: 1 }, 5_000);
    fake.sendMessage(roomId, bob, 'spam');
    await soon(manager.ignoreUsers({ userId, ignore: [bob] }));
    const read = async () =>
      (await manager.getRoomMessages({ userId, roomId })).messages.map(({ content }) => content['body']);
    for (let second = 0; second < 10; second++) {
      expect(await soon(read())).toEqual([]);
      await clock.advance(1_000);
    }
  });

  it('that another client has changed empties the timelines in memory', async () => {
    const { manager, userId, fake } = await oneUser();
    const bob = fake.createUser({ username: 'bob' }).userId;
    const roomId = fake.createRoom({ creator: userId, members: [bob] });
    await manager.startClient({ userId, callbacks: [() => {}] });
    fake.sendMessage(roomId, bob, 'spam');
    const read = async () =>
      (await manager.getRoomMessages({ userId, roomId })).messages.map(({ content }) => content['body']);
    await expect.poll(read).toEqual(['spam']);
    const path = '/_matrix/client/v3/user/{userId}/account_data/m.ignored_user_list';
    const body = { ignored_users: { [bob]: {} } };
    await manager.request({ userId, method: 'PUT', path, pathParams: { userId }, body });
    await expect.poll(read).toEqual([]);
  });
});
