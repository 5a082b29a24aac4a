import { describe, expect, it } from 'vitest';
import { MatrixClientManager, MatrixClientManagerError } from '../../src/index.js';
import type { Credentials, EnsureUserRequest, OpenSessionRequest, Provisioner } from '../../src/index.js';
import { managerOnFake } from '../support/manager-on-fake.js';
import { rejection } from '../support/rejection.js';

const alice = '@alice:hs.test';

/** A provisioner that notes what it is asked, and how many of its calls run at once per user. */
class OwnProvisioner implements Provisioner {
  capabilities = { renewsSessions: true, deactivatesUsers: true };
  readonly ensured: EnsureUserRequest[] = [];
  readonly opened: OpenSessionRequest[] = [];
  readonly deactivated: string[] = [];
  mostAtOnce = 0;
  #running = 0;

  constructor(readonly session: (request: OpenSessionRequest) => unknown) {}

  async ensureUser(request: EnsureUserRequest) {
    this.ensured.push(request);
    await this.#busy();
    return { created: this.ensured.length === 1, password: 'given on' };
  }

  async openSession(request: OpenSessionRequest): Promise<Credentials> {
    this.opened.push(request);
    await this.#busy();
    return this.session(request) as Credentials;
  }

  async closeSession() {}

  async deactivateUser(userId: string) {
    this.deactivated.push(userId);
  }

  async #busy(): Promise<void> {
    this.mostAtOnce = Math.max(this.mostAtOnce, ++this.#running);
    await new Promise((resolve) => setImmediate(resolve));
    this.#running--;
  }
}

function setUp(session?: (request: OpenSessionRequest) => unknown) {
  const { make, ...rest } = managerOnFake();
  const { fake } = rest;
  const open = session ?? (() => fake.createUser({ username: 'alice', deviceId: 'D' }));
  const provisioner = new OwnProvisioner(open);
  return { ...rest, make, provisioner, manager: make({ provisioner }) };
}

describe('a provisioner of the application', () => {
  it('makes users instead of the Admin API, and is handed what was asked for', async () => {
    const { fake, manager, provisioner, storage } = setUp();
    const user = await manager.provisionUser({ username: 'alice', displayName: 'Alice', deviceId: 'D' });
    expect(user).toMatchObject({ userId: alice, deviceId: 'D', created: true });
    expect(provisioner.ensured).toMatchObject([{ userId: alice, displayName: 'Alice' }]);
    expect(provisioner.opened).toMatchObject([
      { userId: alice, deviceId: 'D', user: { created: true, password: 'given on' }, signal: expect.any(AbortSignal) },
    ]);
    expect(fake.requests).toEqual([]);
    expect(await storage.getCredentials(alice)).toMatchObject({ accessToken: user.accessToken });
  });

  it('needs no admin account', async () => {
    const { fake, storage, clock } = managerOnFake();
    const provisioner = new OwnProvisioner(() => fake.createUser({ username: 'alice' }));
    const options = { homeserverUrl: fake.baseUrl, serverName: 'hs.test', fetch: fake.fetch, clock, storage };
    const manager = new MatrixClientManager({ ...options, provisioner });
    await expect(manager.provisionUser({ username: 'alice' })).resolves.toMatchObject({ userId: alice });
  });

  it('is asked for one thing at a time per user, renewals included', async () => {
    let tokens = 0;
    const { manager, provisioner, soon } = setUp(({ deviceId = 'D' }) => ({
      userId: alice,
      accessToken: `token-${++tokens}`, // none that the homeserver knows
      deviceId,
    }));
    await manager.provisionUser({ username: 'alice' });
    const reading = rejection(soon(manager.getRoomMessages({ userId: alice, roomId: '!r:hs.test' })));
    const devices = ['E', 'F', 'G'].map((deviceId) => manager.provisionUser({ username: 'alice', deviceId }));
    expect((await soon(Promise.all(devices))).map(({ deviceId }) => deviceId)).toEqual(['E', 'F', 'G']);
    expect(await reading).toMatchObject({ code: 'UNKNOWN_TOKEN' });
    expect(provisioner.opened.length).toBe(5);
    expect(provisioner.mostAtOnce).toBe(1);
  });

  it('fails with its own error', async () => {
    const failure = new MatrixClientManagerError('USER_DEACTIVATED', 'not here');
    const { manager, storage } = setUp(() => {
      throw failure;
    });
    await expect(manager.provisionUser({ username: 'alice' })).rejects.toBe(failure);
    expect(await storage.getCredentials(alice)).toBeUndefined();
  });

  it.each([
    ['nothing', undefined],
    ['null', null],
    ['text', 'a token'],
    ['no user', { accessToken: 'x', deviceId: 'D' }],
    ['another user', { userId: '@mallory:hs.test', accessToken: 'x', deviceId: 'D' }],
    ['another device', { userId: alice, accessToken: 'x', deviceId: 'E' }],
    ['no device', { userId: alice, accessToken: 'x' }],
    ['no token', { userId: alice, accessToken: '', deviceId: 'D' }],
    ['a token with a line break', { userId: alice, accessToken: 'x\ny', deviceId: 'D' }],
    ['a refresh token of another type', { userId: alice, accessToken: 'x', deviceId: 'D', refreshToken: 5 }],
  ])('that answers with %s is an error, and nothing of it is kept', async (_title, session) => {
    const { manager, storage } = setUp(() => session);
    const error = await rejection(manager.provisionUser({ username: 'alice', deviceId: 'D' }));
    expect(error).toMatchObject({ code: 'INVALID_RESPONSE', userId: alice });
    expect(await storage.getCredentials(alice)).toBeUndefined();
  });

  it('that never answers does not hold up a shutdown', async () => {
    const { clock, manager, provisioner } = setUp(() => new Promise(() => {}));
    const failure = rejection(manager.provisionUser({ username: 'alice' }));
    await clock.advance(10);
    expect(provisioner.opened).toHaveLength(1);
    await manager.shutdown();
    expect(await failure).toMatchObject({ code: 'MANAGER_CLOSED' });
    expect(provisioner.opened[0]?.signal?.aborted).toBe(true);
  });

  it('that cannot renew sessions is not asked to', async () => {
    const { fake, manager, provisioner } = setUp();
    provisioner.capabilities = { renewsSessions: false, deactivatesUsers: true };
    await manager.provisionUser({ username: 'alice' });
    fake.killTokens(alice);
    const error = await rejection(manager.getRoomMessages({ userId: alice, roomId: '!r:hs.test' }));
    expect(error).toMatchObject({ code: 'UNKNOWN_TOKEN', userId: alice });
    expect(provisioner.opened).toHaveLength(1);
  });

  it('deactivates users for manager.admin', async () => {
    const { manager, provisioner } = setUp();
    await manager.admin.deactivateUser(alice);
    expect(provisioner.deactivated).toEqual([alice]);
  });
});
