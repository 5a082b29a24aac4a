import { describe, expect, it } from 'vitest';
import { rejection } from '../support/rejection.js';
import { managersOn } from './managers.js';
import type { Homeserver } from './managers.js';

/** `manager.request()`, the same on the fake homeserver and on a real one. */
export function applicationRequests(name: string, homeserver: () => Homeserver): void {
  describe(`requests of the application on ${name}`, () => {
    const { makeManager, run } = managersOn(homeserver);

    it('are made as the user and as the admin, and no client is started', async () => {
      const manager = makeManager();
      const { userId } = await manager.provisionUser({ username: `r1-${run}` });
      const tag = { userId, method: 'PUT', path: '/_matrix/client/v3/user/{userId}/account_data/{type}' } as const;
      const pathParams = { userId, type: 'org.example/settings?#' };
      expect(await manager.request({ ...tag, pathParams, body: { order: 0.5 } })).toEqual({});
      expect(await manager.request({ ...tag, method: 'GET', pathParams })).toEqual({ order: 0.5 });
      const whoami = { method: 'GET', path: '/_matrix/client/v3/account/whoami' } as const;
      expect(await manager.request({ ...whoami, userId })).toMatchObject({ user_id: userId });
      const { adminUserId = '' } = manager;
      expect(await manager.request({ ...whoami, admin: true })).toMatchObject({ user_id: adminUserId });
      expect(await manager.request({ ...whoami, userId: adminUserId })).toMatchObject({ user_id: adminUserId });
      const user = { method: 'GET', path: '/_synapse/admin/v2/users/{userId}', pathParams: { userId } } as const;
      expect(await manager.request({ ...user, admin: true })).toMatchObject({ name: userId });
      expect(manager.listClients()).toEqual([]);
    });

    it('reject with FORBIDDEN and NOT_FOUND', async () => {
      const manager = makeManager();
      const { userId } = await manager.provisionUser({ username: `r2-${run}` });
      const user = { method: 'GET', path: '/_synapse/admin/v2/users/{userId}' } as const;
      const forbidden = manager.request({ ...user, userId, pathParams: { userId } });
      expect(await rejection(forbidden)).toMatchObject({ code: 'FORBIDDEN', status: 403, userId });
      const missing = manager.request({ ...user, admin: true, pathParams: { userId: `@nobody-${userId.slice(1)}` } });
      expect(await rejection(missing)).toMatchObject({ code: 'NOT_FOUND', status: 404 });
    });

    it('renew a token that is no longer valid', async () => {
      const manager = makeManager();
      const { userId } = await manager.provisionUser({ username: `r3-${run}` });
      await manager.request({ userId, method: 'POST', path: '/_matrix/client/v3/logout/all' });
      const whoami = { userId, method: 'GET', path: '/_matrix/client/v3/account/whoami' } as const;
      expect(await manager.request(whoami)).toMatchObject({ user_id: userId });
    });
  });
}
