import { describe, expect, it } from 'vitest';
import { managerOnFake } from '../support/manager-on-fake.js';
import { rejection } from '../support/rejection.js';

const PROFILE = '/profile/{userId}';

async function twoUsers() {
  const setUp = managerOnFake();
  const { userId: alice } = await setUp.manager.provisionUser({ username: 'alice', displayName: 'Alice' });
  const { userId: bob } = await setUp.manager.provisionUser({ username: 'bob' });
  return { ...setUp, alice, bob, asked: () => setUp.count(PROFILE, 'GET') };
}

describe('a profile', () => {
  it('is asked for once by concurrent callers, and again after maxAgeMs', async () => {
    const { manager, alice, bob, asked, clock } = await twoUsers();
    const get = (maxAgeMs?: number) => manager.getProfile({ userId: bob, targetUserId: alice, maxAgeMs });
    await Promise.all([get(), get(), get()]);
    expect(asked()).toBe(1);
    await clock.advance(299_999);
    await get();
    expect(asked()).toBe(1);
    await get(1_000);
    expect(asked()).toBe(2);
    await get(0);
    expect(asked()).toBe(3);
  });

  it('that one user has read is not shown to another without asking', async () => {
    const { manager, alice, bob, asked } = await twoUsers();
    await manager.getProfile({ userId: bob, targetUserId: alice });
    await manager.getProfile({ userId: alice });
    expect(asked()).toBe(2);
  });

  it('is asked for again after a failure', async () => {
    const { manager, alice, fake, asked } = await twoUsers();
    fake.faults.status({ endpoint: PROFILE }, { status: 403, body: { errcode: 'M_FORBIDDEN' } });
    expect(await rejection(manager.getProfile({ userId: alice }))).toMatchObject({ code: 'FORBIDDEN' });
    fake.faults.clear();
    expect(await manager.getProfile({ userId: alice })).toMatchObject({ displayName: 'Alice' });
    expect(asked()).toBe(2);
  });

  it('goes on being read for the others when one caller gives up', async () => {
    const { manager, alice, fake, soon } = await twoUsers();
    fake.faults.latency({ endpoint: PROFILE }, 5_000);
    const controller = new AbortController();
    const first = manager.getProfile({ userId: alice, signal: controller.signal });
    const second = manager.getProfile({ userId: alice });
    controller.abort();
    expect(await rejection(first)).toMatchObject({ code: 'ABORTED' });
    expect(await soon(second)).toMatchObject({ displayName: 'Alice' });
  });

  it('that is on its way while the name is changed is not kept', async () => {
    const { manager, alice, fake, soon } = await twoUsers();
    fake.faults.latency({ endpoint: PROFILE, times: 1 }, 5_000);
    const old = manager.getProfile({ userId: alice });
    await manager.setDisplayName({ userId: alice, displayName: 'New' });
    await soon(old);
    expect(await manager.getProfile({ userId: alice })).toMatchObject({ displayName: 'New' });
  });

  it('that the admin or a provisioning has changed is asked for again', async () => {
    const { manager, alice } = await twoUsers();
    const name = async () => (await manager.getProfile({ userId: alice })).displayName;
    expect(await name()).toBe('Alice');
    await manager.admin.setDisplayName(alice, 'Two');
    expect(await name()).toBe('Two');
    await manager.provisionUser({ username: 'alice', deviceId: 'NEW', displayName: 'Three' });
    expect(await name()).toBe('Three');
  });

  it.each([
    [{ displayname: 5, avatar_url: ['mxc://a/b'] }],
    [{ displayname: null }],
    [JSON.parse('{"__proto__": {"displayname": "Mallory"}}') as object],
    [{ displayname: '' }],
  ])('of wrong types has no name and no avatar: %j', async (body) => {
    const { manager, alice, fake } = await twoUsers();
    fake.faults.wrongTypes({ endpoint: PROFILE }, body);
    expect(await manager.getProfile({ userId: alice })).toEqual({
      userId: alice,
      displayName: undefined,
      avatarUrl: undefined,
    });
  });

  it.each([[[]], ['text'], [null]])('that is no object is an invalid response: %j', async (body) => {
    const { manager, alice, fake, soon } = await twoUsers();
    fake.faults.wrongTypes({ endpoint: PROFILE }, body);
    expect(await rejection(soon(manager.getProfile({ userId: alice })))).toMatchObject({ code: 'INVALID_RESPONSE' });
  });

  it.each([
    ['http://example.org/a.png'],
    ['mxc://example.org'],
    ['mxc://example.org/../a'],
    ['mxc://example.org/a?b'],
    [''],
    [undefined],
  ])('takes no avatar that is not an mxc:// URI: %j', async (avatarUrl) => {
    const { manager, alice } = await twoUsers();
    const set = manager.setAvatar({ userId: alice, avatarUrl: avatarUrl as string });
    expect(await rejection(set)).toMatchObject({ code: 'INVALID_OPTIONS' });
  });
});

describe('presence', () => {
  it('of a state that the library does not know is unavailable', async () => {
    const { manager, alice, fake } = await twoUsers();
    const endpoint = '/presence/{userId}/status';
    fake.faults.wrongTypes({ endpoint }, { presence: 'busy', last_active_ago: '1' });
    const seen = await manager.getPresence({ userId: alice });
    expect(seen).toMatchObject({ presence: 'unavailable', lastActiveAgoMs: undefined });
  });

  it('is told with what the homeserver knows', async () => {
    const { manager, alice, clock, fake } = await twoUsers();
    await manager.setPresence({ userId: alice, presence: 'online', statusMessage: 'Here' });
    await clock.advance(2_000);
    expect(await manager.getPresence({ userId: alice })).toEqual({
      userId: alice,
      presence: 'online',
      lastActiveAgoMs: 2_000,
      statusMessage: 'Here',
      currentlyActive: true,
    });
    const { userId: stranger } = fake.createUser({ username: 'stranger' });
    const unseen = manager.getPresence({ userId: alice, targetUserId: stranger });
    expect(await rejection(unseen)).toMatchObject({ code: 'FORBIDDEN' });
  });
});
