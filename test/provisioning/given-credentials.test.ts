import { describe, expect, it } from 'vitest';
import { managerOnFake } from '../support/manager-on-fake.js';
import { rejection } from '../support/rejection.js';

const alice = '@alice:hs.test';

describe('the credentials that a start is given', () => {
  it('are checked and kept: the next start needs none', async () => {
    const { fake, manager, storage, soon, count } = managerOnFake();
    const { accessToken, deviceId } = fake.createUser({ username: 'alice' });
    await soon(manager.startClient({ userId: alice, accessToken }));
    expect(await storage.getCredentials(alice)).toEqual({ userId: alice, accessToken, deviceId });
    await manager.stopClient(alice);
    expect(await soon(manager.startClient({ userId: alice }))).toMatchObject({ state: 'live', deviceId });
    expect(count('/account/whoami')).toBe(1);
    await soon(manager.shutdown());
  });

  it.each([
    ['another user', (fake: ReturnType<typeof managerOnFake>['fake']) => fake.admin, '@admin:hs.test'],
    [
      'another device',
      (fake: ReturnType<typeof managerOnFake>['fake']) => ({
        accessToken: fake.createUser({ username: 'alice', deviceId: 'REAL' }).accessToken,
        deviceId: 'GIVEN',
      }),
      'REAL',
    ],
  ])('are refused when they are of %s', async (_title, given, whose) => {
    const { fake, manager, storage } = managerOnFake();
    const { accessToken, deviceId } = given(fake);
    const error = await rejection(manager.startClient({ userId: alice, accessToken, deviceId }));
    expect(error).toMatchObject({ code: 'INVALID_OPTIONS', userId: alice });
    expect(error.message).toContain(whose);
    expect(error.message).not.toContain(accessToken);
    expect(await storage.getCredentials(alice)).toBeUndefined();
  });

  it('are refused when they are dead, and what is known is kept', async () => {
    const { fake, manager, storage } = managerOnFake();
    const { created: _, ...known } = await manager.provisionUser({ username: 'alice' });
    for (const given of [{ accessToken: 'dead' }, { accessToken: 'dead', deviceId: 'OTHER' }]) {
      const error = await rejection(manager.startClient({ userId: alice, ...given }));
      expect(error).toMatchObject({ code: 'UNKNOWN_TOKEN', userId: alice });
    }
    expect(await storage.getCredentials(alice)).toEqual(known);
    expect(fake.countRequests('/sync')).toBe(0);
  });

  it('give way to what is known of the same device when they are from before a renewal', async () => {
    const { fake, manager, storage, soon } = managerOnFake();
    const { created: _, ...before } = await manager.provisionUser({ username: 'alice' });
    fake.killTokens(alice);
    await soon(manager.startClient({ userId: alice }));
    await soon(manager.stopClient(alice));
    const renewed = await storage.getCredentials(alice);
    expect(renewed?.accessToken).not.toBe(before.accessToken);
    expect(await soon(manager.startClient(before))).toMatchObject({ state: 'live', deviceId: before.deviceId });
    expect(await storage.getCredentials(alice)).toEqual(renewed);
    await soon(manager.shutdown());
  });

  it('are refused when no header can hold them', async () => {
    const { fake, manager } = managerOnFake();
    const error = await rejection(manager.startClient({ userId: alice, accessToken: 'syt_a\nb' }));
    expect(error).toMatchObject({ code: 'INVALID_OPTIONS' });
    expect(error.message).not.toContain('syt_a');
    expect(fake.requests).toEqual([]);
  });

  it.each(['a web page', 'nothing', '500'])(
    'are not kept when the homeserver answers the check with %s',
    async (what) => {
      const { fake, manager, storage, soon } = managerOnFake();
      const { accessToken } = fake.createUser({ username: 'alice' });
      const match = { endpoint: '/account/whoami' };
      if (what === 'nothing') fake.faults.hang(match);
      else if (what === '500') fake.faults.status(match, { status: 500 });
      else fake.faults.html(match);
      const error = await rejection(soon(manager.startClient({ userId: alice, accessToken })));
      expect(['INVALID_RESPONSE', 'TIMEOUT', 'HOMESERVER_UNAVAILABLE']).toContain(error.code);
      expect(await storage.getCredentials(alice)).toBeUndefined();
      expect(manager.hasClient(alice)).toBe(false);
    },
  );
});
