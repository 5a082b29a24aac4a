import { describe, expect, it } from 'vitest';
import type { MatrixClientManager } from '../../src/index.js';
import { allTextOf } from '../support/all-text-of.js';
import { managerOnFake, USERS } from '../support/manager-on-fake.js';

const alice = '@alice:hs.test';

/** A manager whose every token and password that goes over the wire is noted. */
function setUp() {
  const { fake, make, logger, storage, soon } = managerOnFake();
  const { userId, password } = fake.admin;
  const secrets = new Set<string>([password]);
  const note = (text: string): void => {
    for (const [, secret] of text.matchAll(/"(?:password|access_token|refresh_token)":"([^"]+)"/g))
      secrets.add(secret ?? '');
  };
  const manager = make({
    admin: { userId, password },
    fetch: async (input, init) => {
      const request = new Request(input, init);
      const token = request.headers.get('authorization')?.slice('Bearer '.length);
      if (token) secrets.add(token);
      note(await request.clone().text());
      const response = await fake.fetch(request);
      note(await response.clone().text());
      return response;
    },
  });
  /** What anybody may see of the manager and of what it told. */
  const visible = (told: unknown[]): string => [manager, logger.entries, ...told].map(allTextOf).join('\n');
  return { fake, manager, storage, secrets, visible, soon };
}

/** The answers and errors of many calls, good ones and bad ones. */
async function useEverything(manager: MatrixClientManager): Promise<unknown[]> {
  const errors: unknown[] = [];
  const call = async (work: () => Promise<unknown>): Promise<void> => {
    await work().catch((error: unknown) => errors.push(error));
  };
  await call(() => manager.provisionUser({ username: 'alice' }));
  await call(() => manager.startClient({ userId: alice }));
  await call(() => manager.getRoomMessages({ userId: alice, roomId: '!none:hs.test' }));
  await call(() => manager.sendMessage({ userId: alice, roomId: '!none:hs.test', text: 'x' }));
  await call(() => manager.startClient({ userId: alice, accessToken: 'syt_wrong_token' }));
  await call(() => manager.startClient({ userId: alice, accessToken: 'syt_wrong_token', deviceId: 'X' }));
  await call(() => manager.stopClient(alice));
  await call(() => manager.startClient({ userId: alice, accessToken: 'syt_wrong_token' }));
  await call(() => manager.admin.deactivateUser(alice));
  await call(() => manager.provisionUser({ username: 'alice' }));
  await call(() => manager.admin.reactivateUser(alice));
  await call(() => manager.provisionUser({ username: 'alice' }));
  return errors;
}

describe('no token and no password', () => {
  it('stands in an error, in the log, or in what can be seen of the manager', async () => {
    const { manager, secrets, visible, soon } = setUp();
    const told = await soon(useEverything(manager));
    expect(told.length).toBeGreaterThanOrEqual(4);
    expect(secrets.size).toBeGreaterThanOrEqual(6);
    const text = visible(told);
    for (const secret of [...secrets, 'syt_wrong_token']) expect(text).not.toContain(secret);
    await soon(manager.shutdown());
  });

  it.each([
    ['refuses', { status: 403, errcode: 'M_FORBIDDEN' }],
    ['limits', { status: 429, body: { errcode: 'M_LIMIT_EXCEEDED', retry_after_ms: 1e9 } }],
    ['knows no token', { status: 401, errcode: 'M_UNKNOWN_TOKEN' }],
    ['answers web pages', { status: 200, body: '<html>' }],
  ])('is told while the homeserver %s', async (_title, answer) => {
    for (const endpoint of ['/login', USERS, '/account/whoami', '/sync']) {
      const { fake, manager, secrets, visible, soon } = setUp();
      fake.faults.status({ endpoint, after: endpoint === USERS || endpoint === '/login' ? 1 : 0 }, answer);
      const told = await soon(useEverything(manager));
      const text = visible(told);
      for (const secret of [...secrets, 'syt_wrong_token']) expect(text).not.toContain(secret);
      await soon(manager.shutdown());
    }
  });
});
