import { describe, expect, it } from 'vitest';
import { SynapseAdminProvisioner } from '../../src/index.js';
import type { SynapseAdminProvisionerOptions } from '../../src/index.js';
import { FakeHomeserver, ManualClock } from '../../src/testing/index.js';
import { advanceUntil } from '../support/advance-until.js';
import { rejection } from '../support/rejection.js';

const alice = '@alice:hs.test';

function setUp() {
  const clock = new ManualClock();
  const fake = new FakeHomeserver({ clock });
  const provisioner = new SynapseAdminProvisioner({
    homeserverUrl: fake.baseUrl,
    admin: fake.admin,
    fetch: fake.fetch,
    clock,
  });
  const soon = <T>(work: Promise<T>): Promise<T> => advanceUntil(clock, work);
  const whoami = async (accessToken: string): Promise<number> => {
    const headers = { authorization: `Bearer ${accessToken}` };
    return (await fake.fetch(`${fake.baseUrl}/_matrix/client/v3/account/whoami`, { headers })).status;
  };
  return { clock, fake, provisioner, soon, whoami };
}

describe('SynapseAdminProvisioner on its own', () => {
  it('makes an account, and says whether it did', async () => {
    const { provisioner } = setUp();
    expect(await provisioner.ensureUser({ userId: alice })).toMatchObject({ created: true });
    expect(await provisioner.ensureUser({ userId: alice })).toMatchObject({ created: false });
  });

  it('opens a session with and without what ensureUser answered, and ends no other', async () => {
    const { provisioner, whoami } = setUp();
    const user = await provisioner.ensureUser({ userId: alice });
    const first = await provisioner.openSession({ userId: alice, user, deviceId: 'ONE' });
    const second = await provisioner.openSession({ userId: alice, deviceId: 'TWO' });
    const third = await provisioner.openSession({ userId: alice, deviceId: 'ONE' });
    expect([first.deviceId, second.deviceId, third.deviceId]).toEqual(['ONE', 'TWO', 'ONE']);
    expect(await Promise.all([first, second, third].map(({ accessToken }) => whoami(accessToken)))).toEqual([
      200, 200, 200,
    ]);
  });

  it('opens many sessions of one user at once', async () => {
    const { provisioner, soon, whoami } = setUp();
    await provisioner.ensureUser({ userId: alice });
    const devices = Array.from({ length: 10 }, (_, n) => `DEVICE${n}`);
    const sessions = await soon(
      Promise.all(devices.map((deviceId) => provisioner.openSession({ userId: alice, deviceId }))),
    );
    expect(sessions.map(({ deviceId }) => deviceId)).toEqual(devices);
    for (const { accessToken } of sessions) expect(await whoami(accessToken)).toBe(200);
  });

  it('sets the password once if the homeserver refuses that to the admin', async () => {
    const { fake, provisioner, soon } = setUp();
    fake.createUser({ username: 'alice' });
    fake.faults.status({ path: /\/_synapse\/admin\/v2\/users\// }, { status: 403, errcode: 'M_FORBIDDEN' });
    const opening = soon(provisioner.openSession({ userId: alice, deviceId: 'ONE' }));
    await expect(opening).rejects.toMatchObject({ code: 'FORBIDDEN', status: 403 });
    expect(fake.requests.filter(({ path }) => path.includes('/v2/users/'))).toHaveLength(1);
  });

  it('closes one session, also when it is closed already', async () => {
    const { provisioner, whoami } = setUp();
    const [one, two] = [
      await provisioner.openSession({ userId: alice, deviceId: 'ONE' }),
      await provisioner.openSession({ userId: alice, deviceId: 'TWO' }),
    ];
    await provisioner.closeSession(one);
    await provisioner.closeSession(one);
    expect([await whoami(one.accessToken), await whoami(two.accessToken)]).toEqual([401, 200]);
  });

  it('deactivates, and revives nobody', async () => {
    const { provisioner } = setUp();
    await provisioner.ensureUser({ userId: alice });
    await provisioner.deactivateUser(alice);
    expect(await rejection(provisioner.ensureUser({ userId: alice }))).toMatchObject({ code: 'USER_DEACTIVATED' });
    expect(await rejection(provisioner.openSession({ userId: alice }))).toMatchObject({ code: 'USER_DEACTIVATED' });
  });

  it('ends with the signal of the request', async () => {
    const { clock, fake, provisioner } = setUp();
    fake.faults.hang({});
    const controller = new AbortController();
    const failures = [
      rejection(provisioner.ensureUser({ userId: alice, signal: controller.signal })),
      rejection(provisioner.openSession({ userId: alice, signal: controller.signal })),
      rejection(provisioner.deactivateUser(alice, { signal: controller.signal })),
    ];
    await clock.advance(10);
    controller.abort();
    for (const failure of failures) expect(await failure).toMatchObject({ code: 'ABORTED' });
    await clock.advance(0);
    expect({ timers: clock.pendingTimers, inFlight: fake.inFlight }).toEqual({ timers: 0, inFlight: 0 });
  });

  it('ends with the signal where the clock of the application throws', async () => {
    const { clock, fake } = setUp();
    fake.faults.hang({});
    const fail = (): never => {
      throw new Error('the clock is broken');
    };
    const provisioner = new SynapseAdminProvisioner({
      homeserverUrl: fake.baseUrl,
      admin: fake.admin,
      fetch: fake.fetch,
      clock: { now: fail, setTimeout: (...timer) => clock.setTimeout(...timer), clearTimeout: fail },
    });
    const controller = new AbortController();
    const failure = rejection(provisioner.ensureUser({ userId: alice, signal: controller.signal }));
    await clock.advance(10);
    controller.abort();
    expect(await failure).toMatchObject({ code: 'ABORTED' });
  });

  it.each([
    [{ homeserverUrl: 'hs.test' }, 'INVALID_OPTIONS', '`homeserverUrl`'],
    [{ homeserverUrl: undefined }, 'INVALID_OPTIONS', '`homeserverUrl`'],
    [{ homeserverUrl: 'file:///etc' }, 'INVALID_OPTIONS', '`homeserverUrl`'],
    [{ admin: undefined }, 'INVALID_OPTIONS', '`admin`'],
    [{ admin: 'syt_secret' }, 'INVALID_OPTIONS', '`admin`'],
    [{ admin: { userId: alice } }, 'INVALID_OPTIONS', '`admin`'],
    [{ admin: { userId: alice, accessToken: '' } }, 'INVALID_OPTIONS', '`admin.accessToken`'],
    [{ admin: { userId: alice, password: 5 } }, 'INVALID_OPTIONS', '`admin.password`'],
    [{ admin: { userId: 'alice', accessToken: 'syt_secret' } }, 'INVALID_USER_ID', 'alice'],
    [{ admin: { userId: alice, accessToken: 'syt_secret\n' } }, 'INVALID_OPTIONS', alice],
    [{ adminConcurrency: 0 }, 'INVALID_OPTIONS', '`adminConcurrency`'],
    [{ requestTimeoutMs: NaN }, 'INVALID_OPTIONS', '`requestTimeoutMs`'],
  ])('refuses %j', async (option, code, name) => {
    const options = { homeserverUrl: 'http://hs.test', admin: { userId: alice, accessToken: 'syt_x' }, ...option };
    const error = await rejection(() => new SynapseAdminProvisioner(options as SynapseAdminProvisionerOptions));
    expect(error).toMatchObject({ code });
    expect(error.message).toContain(name);
    expect(error.message).not.toContain('syt_secret');
  });
});
