import { describe, expect, it, vi } from 'vitest';
import { nextEventLoopTurn } from '../../src/core/event-loop.js';
import type { Credentials, MatrixClientManager, MatrixClientManagerOptions } from '../../src/index.js';
import { managerOnFake } from '../support/manager-on-fake.js';
import { Recorder } from '../support/recorder.js';
import { rejection } from '../support/rejection.js';

const alice = '@alice:hs.test';

/** An application with a table of credentials. */
class Table extends Map<string, Credentials> {}

/** Alice, who has had a client, a position, a dead letter and messages that were sent. */
async function setUp(options: Partial<MatrixClientManagerOptions> = {}) {
  const table = new Table();
  const on = managerOnFake({ credentials: table as never, callbackAttempts: 1, ...options });
  const { fake, manager, soon, storage } = on;
  const session = await soon(manager.provisionUser({ username: 'alice' }));
  const bob = fake.createUser({ username: 'bob' }).userId;
  const roomId = fake.createRoom({ creator: bob, members: [alice] });
  const recorder = new Recorder();
  const buried = new Promise<void>((resolve) => manager.on('deadLetter', () => resolve()));
  await soon(
    manager.startClient({
      userId: alice,
      callbacks: [
        recorder.callback,
        (event) => {
          if (event.type === 'message') throw new Error('not this one');
        },
      ],
    }),
  );
  fake.sendMessage(roomId, bob, 'hello');
  await soon(recorder.message('hello'));
  await soon(buried);
  await soon(manager.sendMessage({ userId: alice, roomId, text: 'sent', durable: true }));
  return { ...on, table, session, bob, roomId, recorder, kept: () => keptOf(storage, table) };
}

async function keptOf(storage: ReturnType<typeof managerOnFake>['storage'], table: Table) {
  const { since, rooms, lastDelivered, journal } = await storage.loadCheckpoint(alice);
  return {
    credentials: await storage.getCredentials(alice),
    since,
    sizes: [rooms.size, lastDelivered.size, journal.length],
    letters: (await storage.listDeadLetters(alice)).length,
    sends: (await storage.listSends({ userId: alice, state: 'sent' })).length,
    row: table.get(alice),
  };
}

const nothing = { credentials: undefined, since: undefined, sizes: [0, 0, 0], letters: 0, sends: 0, row: undefined };

async function deviceIds(manager: MatrixClientManager): Promise<string[]> {
  return (await manager.admin.listDevices(alice)).map(({ deviceId }) => deviceId);
}

describe('forgetUser', () => {
  it('ends a durable send that is still tried, and nothing of it is tried or kept afterwards', async () => {
    const { fake, manager, soon, clock, roomId, storage } = await setUp();
    fake.faults.status({ path: /\/send\// }, { status: 503 });
    const sending = manager.sendMessage({ userId: alice, roomId, text: 'never', durable: true });
    const ended = sending.catch((error: unknown) => error);
    await clock.advance(5_000);
    await soon(manager.forgetUser(alice));
    expect(await soon(ended)).toMatchObject({ code: 'ABORTED' });
    expect(await storage.listSends()).toEqual([]);
    const tries = fake.requests.length;
    await clock.advance(300_000);
    expect(fake.requests.slice(tries).filter(({ path }) => path.includes('/send/'))).toEqual([]);
    expect(manager.stats().queues.outbox).toBe(0);
  });

  it('stops the client and leaves nothing of the user behind, nor their device', async () => {
    const { fake, manager, soon, session, kept, recorder, roomId, bob } = await setUp();
    const before = await kept();
    expect(before).toMatchObject({ sends: 1, row: { accessToken: session.accessToken } });
    expect([before.since, before.letters > 0]).toEqual([expect.any(String), true]);
    await soon(manager.forgetUser(alice));
    expect(await kept()).toEqual(nothing);
    expect(manager.hasClient(alice)).toBe(false);
    expect(await deviceIds(manager)).toEqual([]);
    expect(await rejection(manager.getRoomMessages({ userId: alice, roomId }))).toMatchObject({
      code: 'CLIENT_NOT_STARTED',
    });
    // A new life: another device, no callbacks, and no history that is news.
    const again = await soon(manager.provisionUser({ username: 'alice' }));
    expect(again).toMatchObject({ userId: alice, created: false });
    expect(again.deviceId).not.toBe(session.deviceId);
    const later = new Recorder();
    await soon(manager.startClient({ userId: alice, callbacks: [later.callback] }));
    fake.sendMessage(roomId, bob, 'in the new life');
    await soon(later.message('in the new life'));
    expect(later.bodies()).toEqual(['in the new life']);
    expect(recorder.bodies()).not.toContain('in the new life');
    await soon(manager.shutdown());
  });

  it('lets the session live with logOut: false', async () => {
    const { manager, soon, session, kept } = await setUp();
    await soon(manager.forgetUser(alice, { logOut: false }));
    expect(await kept()).toEqual(nothing);
    expect(await deviceIds(manager)).toEqual([session.deviceId]);
    await soon(manager.shutdown());
  });

  it('forgets also where the homeserver cannot log the user out, and says so in the log', async () => {
    const { fake, manager, soon, kept, logger } = await setUp();
    fake.faults.status({ endpoint: '/logout' }, { status: 500 });
    await soon(manager.forgetUser(alice));
    expect(await kept()).toEqual(nothing);
    expect(logger.entries.some(({ message }) => message.includes('logging out failed'))).toBe(true);
    await soon(manager.shutdown());
  });

  it('does what it can, and rejects, where the application cannot delete; a repetition then succeeds', async () => {
    const { manager, soon, kept, table } = await setUp();
    const remove = table.delete.bind(table);
    table.delete = () => {
      throw new Error('the database is down');
    };
    const error = await rejection(soon(manager.forgetUser(alice)));
    expect(error).toMatchObject({ code: 'NETWORK', userId: alice });
    expect(await kept()).toMatchObject({ ...nothing, row: { userId: alice } });
    table.delete = remove;
    await soon(manager.forgetUser(alice));
    expect(await kept()).toEqual(nothing);
    await soon(manager.shutdown());
  });

  it('may be called by a callback of the user, and what its stop stores goes as well', async () => {
    const { fake, manager, soon, kept, bob, roomId } = await setUp();
    const forgotten = new Promise<void>((resolve, reject) => {
      manager.addCallback(alice, async (event) => {
        if (event.type !== 'message') return;
        await manager.forgetUser(alice).then(resolve, reject);
      });
    });
    fake.sendMessage(roomId, bob, 'forget me');
    await soon(forgotten);
    await soon(manager.shutdown());
    expect(await kept()).toEqual(nothing);
  });

  it('may be called by a callback that starts the user anew, and a shutdown waits for what it still deletes', async () => {
    const { fake, manager, soon, storage, session, bob, roomId } = await setUp();
    const deletion = Promise.withResolvers<void>();
    let deletions = 0;
    let closed = false;
    const deleteUser = storage.deleteUser.bind(storage);
    storage.deleteUser = async (userId) => {
      await deleteUser(userId);
      if (++deletions === 2) await deletion.promise; // the one after the stop that the callback had deferred
      expect(closed).toBe(false);
    };
    const close = storage.close.bind(storage);
    storage.close = async () => {
      closed = true;
      await close();
    };
    const started = new Promise<unknown>((resolve, reject) => {
      manager.addCallback(alice, async (event) => {
        if (event.type !== 'message' || event.content.body !== 'forget me') return;
        await manager.forgetUser(alice, { logOut: false });
        await manager.startClient(session).then(resolve, reject);
      });
    });
    fake.sendMessage(roomId, bob, 'forget me');
    await soon(started);
    let isDown = false;
    const shutdown = manager.shutdown().then(() => (isDown = true));
    await soon(vi.waitUntil(() => deletions === 2));
    await nextEventLoopTurn();
    expect(isDown).toBe(false);
    deletion.resolve();
    await soon(shutdown);
    expect(closed).toBe(true);
  });

  it('does not let a request under way renew the session of who was forgotten', async () => {
    const { fake, manager, soon, kept, roomId, count } = await setUp();
    const logins = count('/login');
    await soon(manager.stopClient(alice));
    const release = fake.faults.latency({ path: /\/messages/ }, 5_000);
    const reading = rejection(soon(manager.getRoomMessages({ userId: alice, roomId })));
    await soon(manager.forgetUser(alice));
    release();
    expect(await reading).toMatchObject({ code: 'UNKNOWN_TOKEN', userId: alice });
    expect(count('/login')).toBe(logins);
    expect(await kept()).toEqual(nothing);
    await soon(manager.shutdown());
  });

  it('resolves for a user whom nobody knows, and checks its arguments', async () => {
    const { manager } = managerOnFake();
    await expect(manager.forgetUser('@nobody:hs.test')).resolves.toBeUndefined();
    expect(await rejection(manager.forgetUser('nobody'))).toMatchObject({ code: 'INVALID_USER_ID' });
    expect(await rejection(manager.forgetUser(alice, { logOut: 1 as never }))).toMatchObject({
      code: 'INVALID_OPTIONS',
    });
  });

  it("stops the admin's client, and does not log the manager out", async () => {
    const { fake, manager, soon } = managerOnFake();
    await soon(manager.startClient({ userId: fake.admin.userId }));
    await soon(manager.forgetUser(fake.admin.userId));
    expect(manager.hasClient(fake.admin.userId)).toBe(false);
    await expect(manager.admin.listUsers()).resolves.toMatchObject({ total: 1 });
    await soon(manager.shutdown());
  });
});

describe('a user deactivated by manager.admin', () => {
  it('leaves nothing behind, and their calls say USER_DEACTIVATED', async () => {
    const { manager, soon, kept, roomId } = await setUp();
    await soon(manager.admin.deactivateUser(alice));
    expect(await kept()).toEqual(nothing);
    expect(manager.hasClient(alice)).toBe(false);
    for (const call of [
      (): Promise<unknown> => manager.sendMessage({ userId: alice, roomId, text: 'x' }),
      (): Promise<unknown> => manager.getRoomMessages({ userId: alice, roomId }),
      (): Promise<unknown> => manager.sendTyping({ userId: alice, roomId, typing: true }),
      (): Promise<unknown> => manager.startClient({ userId: alice }),
      (): Promise<unknown> => manager.provisionUser({ username: 'alice' }),
    ]) {
      expect(await rejection(soon(call()))).toMatchObject({ code: 'USER_DEACTIVATED', userId: alice });
    }
    await soon(manager.shutdown());
  });
});

describe('a user deactivated elsewhere', () => {
  it('is USER_DEACTIVATED without a client, not UNKNOWN_TOKEN', async () => {
    const { fake, manager, soon } = managerOnFake();
    await manager.provisionUser({ username: 'alice' });
    fake.deactivateUser(alice);
    const error = await rejection(soon(manager.sendMessage({ userId: alice, roomId: '!r:hs.test', text: 'x' })));
    expect(error).toMatchObject({ code: 'USER_DEACTIVATED', userId: alice });
    await soon(manager.shutdown());
  });

  it('is USER_DEACTIVATED also where the provisioner cannot renew sessions', async () => {
    const { fake, make, soon, storage } = managerOnFake();
    const { userId, accessToken, deviceId } = fake.createUser({ username: 'alice' });
    await storage.setCredentials({ userId, accessToken, deviceId });
    const unused = async (): Promise<never> => {
      throw new Error('not asked');
    };
    const capabilities = { renewsSessions: false, deactivatesUsers: false };
    const manager = make({
      provisioner: {
        capabilities,
        ensureUser: unused,
        openSession: unused,
        closeSession: unused,
        deactivateUser: unused,
      },
    });
    fake.deactivateUser(alice);
    const error = await rejection(soon(manager.sendMessage({ userId: alice, roomId: '!r:hs.test', text: 'x' })));
    expect(error).toMatchObject({ code: 'USER_DEACTIVATED', userId: alice });
  });

  it('has their client stopped as logged out, with that error', async () => {
    const { fake, manager, soon } = managerOnFake();
    await manager.provisionUser({ username: 'alice' });
    const stopped = new Promise((resolve) => manager.on('clientStopped', resolve));
    await soon(manager.startClient({ userId: alice }));
    fake.deactivateUser(alice);
    expect(await soon(stopped)).toMatchObject({ reason: 'loggedOut', error: { code: 'USER_DEACTIVATED' } });
    await soon(manager.shutdown());
  });
});
