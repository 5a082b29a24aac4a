import { describe, expect, it } from 'vitest';
import { MatrixClientManagerError } from '../../src/core/errors.js';
import { fetchTransport } from '../../src/http/fetch-transport.js';
import { Accounts } from '../../src/provisioning/accounts.js';
import type { AuthenticatedRequest } from '../../src/provisioning/interactive-authentication.js';
import { OwnAdmin } from '../../src/provisioning/own-admin.js';
import type { AdminAccount } from '../../src/provisioning/own-admin.js';
import { SynapseAdminProvisioner } from '../../src/provisioning/synapse-admin-provisioner.js';
import { memoryStorage } from '../../src/storage/memory-storage.js';
import { FakeHomeserver, ManualClock } from '../../src/testing/index.js';
import { advanceUntil } from '../support/advance-until.js';
import { USERS } from '../support/manager-on-fake.js';
import { testHomeserver } from '../support/context.js';

const alice = '@alice:hs.test';

/** Alice, and a request of hers that the homeserver wants authenticated: other keys in place of those that she has. */
async function setUp(own?: (fake: FakeHomeserver) => AdminAccount) {
  const clock = new ManualClock();
  const fake = new FakeHomeserver({ clock });
  const { baseUrl: homeserverUrl, admin } = fake;
  const connections = fetchTransport(fake.fetch).open();
  const context = testHomeserver({ homeserverUrl, connections, clock });
  const accounts = new Accounts(context, {
    storage: memoryStorage(),
    provisioner: new SynapseAdminProvisioner({ homeserverUrl, admin, fetch: fake.fetch, clock }),
    application: undefined,
    admin: own && new OwnAdmin(context.http, own(fake)),
    serverName: 'hs.test',
    signal: new AbortController().signal,
  });
  const userId = own ? admin.userId : alice;
  const { created: _, ...credentials } = await accounts.provision({ username: own ? 'admin' : 'alice' });
  const session = accounts.session(credentials);
  const upload = async (name: string, auth: object | null): Promise<void> => {
    const { accessToken } = await session.credentials();
    const response = await fake.fetch(`${homeserverUrl}/_matrix/client/v3/keys/device_signing/upload`, {
      method: 'POST',
      headers: { authorization: `Bearer ${accessToken}` },
      body: JSON.stringify({
        master_key: { user_id: userId, usage: ['master'], keys: { [`ed25519:${name}`]: name } },
        ...(auth && { auth }),
      }),
    });
    if (response.ok) return;
    const data = (await response.json()) as { errcode?: string };
    if (data.errcode !== 'M_UNKNOWN_TOKEN') throw Object.assign(new Error('refused'), { data });
    await session.replace(accessToken, new MatrixClientManagerError('UNKNOWN_TOKEN', 'dead'));
    await upload(name, auth);
  };
  await upload('first', null);
  return { clock, fake, accounts, replaceKeys: (auth: object | null) => upload('second', auth) };
}

describe('interactive authentication', () => {
  it.each([1, 2])('does not deadlock the user when their token dies before request %i', async (which) => {
    const { clock, fake, accounts, replaceKeys } = await setUp();
    let requests = 0;
    const request: AuthenticatedRequest = (auth) => {
      if (++requests === which) fake.killTokens(alice);
      return replaceKeys(auth);
    };
    await advanceUntil(clock, accounts.authenticate(alice, request));
    expect(requests).toBe(which === 1 ? 2 : 3); // a login set another password before the second
    const again = accounts.provision({ username: 'alice' });
    await expect(advanceUntil(clock, again)).resolves.toMatchObject({ userId: alice });
  });

  it('sets a password again when a login on another device has set one meanwhile', async () => {
    const { clock, accounts, replaceKeys } = await setUp();
    const passwords: unknown[] = [];
    const request: AuthenticatedRequest = async (auth) => {
      if (auth) passwords.push(auth['password']);
      if (passwords.length === 1) await accounts.provision({ username: 'alice', deviceId: 'OTHER' });
      await replaceKeys(auth);
    };
    await advanceUntil(clock, accounts.authenticate(alice, request));
    expect(new Set(passwords).size).toBe(2);
  });

  it('gives up when the homeserver takes no password', async () => {
    const { clock, accounts } = await setUp();
    let requests = 0;
    const refusal = Object.assign(new Error('no'), { data: { session: 's', errcode: 'M_FORBIDDEN' } });
    const request: AuthenticatedRequest = async () => {
      requests++;
      throw refusal;
    };
    await expect(advanceUntil(clock, accounts.authenticate(alice, request))).rejects.toBe(refusal);
    expect(requests).toBe(5);
  });

  it('of the own admin takes its own password, and sets none', async () => {
    const { fake, accounts, replaceKeys } = await setUp(({ admin: { userId, password } }) => ({ userId, password }));
    await accounts.authenticate(fake.admin.userId, replaceKeys);
    expect(fake.countRequests(({ method, endpoint }) => method === 'PUT' && endpoint === USERS)).toBe(0);
  });

  it.each([undefined, 'wrong'])('of the own admin fails where its password is %j, and none is set', async (given) => {
    const { fake, accounts, replaceKeys } = await setUp(({ admin: { userId, accessToken } }) => ({
      userId,
      accessToken,
      ...(given && { password: given }),
    }));
    await expect(accounts.authenticate(fake.admin.userId, replaceKeys)).rejects.toThrow('refused');
    expect(fake.countRequests(({ method, endpoint }) => method === 'PUT' && endpoint === USERS)).toBe(0);
  });

  it.each([null, undefined, 'text', { data: null }, { data: 'text' }, { data: { session: 5 } }])(
    'fails as the request does when that rejects with %j',
    async (failure) => {
      const { accounts } = await setUp();
      await expect(accounts.authenticate(alice, () => Promise.reject(failure))).rejects.toBe(failure);
    },
  );
});
