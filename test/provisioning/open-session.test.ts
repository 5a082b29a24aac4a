import { describe, expect, it } from 'vitest';
import type { Credentials, Provisioner } from '../../src/index.js';
import { managerOnFake } from '../support/manager-on-fake.js';
import { rejection } from '../support/rejection.js';

const LOGIN = '/login';
const userId = '@alice:hs.test';

describe('a session for a front end', () => {
  it('is not stored, and nothing of the managed session changes', async () => {
    const { manager, storage } = managerOnFake();
    await manager.provisionUser({ username: 'alice' });
    const before = await storage.getCredentials(userId);
    const sessions = await Promise.all([manager.openSession({ userId }), manager.openSession({ userId })]);
    expect(new Set(sessions.map(({ deviceId }) => deviceId)).size).toBe(2);
    expect(await storage.getCredentials(userId)).toEqual(before);
  });

  it('whose caller has given up is logged out', async () => {
    const { manager, fake, soon, clock } = managerOnFake();
    const { deviceId } = await manager.provisionUser({ username: 'alice' });
    fake.faults.latency({ endpoint: LOGIN, times: 1 }, 5_000);
    const controller = new AbortController();
    const opened = manager.openSession({ userId, signal: controller.signal });
    await clock.advance(1_000);
    controller.abort();
    expect(await rejection(opened)).toMatchObject({ code: 'ABORTED' });
    await clock.advance(10_000);
    await expect
      .poll(async () => (await soon(manager.admin.listDevices(userId))).map((device) => device.deviceId))
      .toEqual([deviceId]);
  });

  it('that is there only after the shutdown has begun is logged out', async () => {
    const { make, fake } = managerOnFake();
    const managed = fake.createUser({ username: 'alice' });
    const login = Promise.withResolvers<Credentials>();
    const closed: string[] = [];
    let logins = 0;
    const provisioner: Provisioner = {
      capabilities: { renewsSessions: true, deactivatesUsers: false },
      ensureUser: async () => ({ created: true }),
      openSession: async ({ deviceId = '' }) => {
        if (++logins === 1) return managed;
        return login.promise.then((credentials) => ({ ...credentials, deviceId }));
      },
      closeSession: async ({ deviceId }) => void closed.push(deviceId),
      deactivateUser: async () => {},
    };
    const manager = make({ provisioner });
    await manager.provisionUser({ username: 'alice' });
    const opened = rejection(manager.openSession({ userId }));
    await expect.poll(() => logins).toBe(2);
    const ended = manager.shutdown();
    expect(await opened).toMatchObject({ code: 'MANAGER_CLOSED' });
    login.resolve({ ...managed, accessToken: 'late' });
    await ended;
    expect(closed).toHaveLength(1);
  });

  it('is not opened for the admin, nor without a provisioner, nor for a deactivated user', async () => {
    const { manager, make } = managerOnFake();
    const { accessToken } = await manager.provisionUser({ username: 'alice' });
    const ofAdmin = manager.openSession({ userId: manager.adminUserId ?? '' });
    expect(await rejection(ofAdmin)).toMatchObject({ code: 'INVALID_OPTIONS' });
    const alone = make({ admin: undefined } as never);
    expect(await rejection(alone.openSession({ userId }))).toMatchObject({ code: 'UNSUPPORTED' });
    const closing = alone.closeSession({ userId, accessToken, deviceId: 'X' });
    expect(await rejection(closing)).toMatchObject({ code: 'UNSUPPORTED' });
    await manager.admin.deactivateUser(userId);
    expect(await rejection(manager.openSession({ userId }))).toMatchObject({ code: 'USER_DEACTIVATED' });
  });

  it('is never the device that the manager uses, whatever a provisioner returns', async () => {
    const { make, fake } = managerOnFake();
    const same = fake.createUser({ username: 'alice' });
    const closed: string[] = [];
    const provisioner: Provisioner = {
      capabilities: { renewsSessions: true, deactivatesUsers: false },
      ensureUser: async () => ({ created: true }),
      openSession: async () => same, // also for another device id
      closeSession: async ({ deviceId }) => void closed.push(deviceId),
      deactivateUser: async () => {},
    };
    const manager = make({ provisioner });
    await manager.provisionUser({ username: 'alice' });
    expect(await rejection(manager.openSession({ userId }))).toMatchObject({ code: 'INVALID_RESPONSE' });
    const managed = manager.closeSession({ ...same, accessToken: 'another' });
    expect(await rejection(managed)).toMatchObject({ code: 'INVALID_OPTIONS' });
    expect(closed).toEqual([]);
  });

  it.each([[{ userId, accessToken: 'x' }], [{ userId, deviceId: 'X' }], ['x'], [undefined]])(
    'is closed with its credentials only: %j',
    async (credentials) => {
      const { manager } = managerOnFake();
      expect(await rejection(manager.closeSession(credentials as never))).toMatchObject({ code: 'INVALID_OPTIONS' });
    },
  );
});
