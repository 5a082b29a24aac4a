import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { expect as vitestExpect, it as vitestIt } from 'vitest';
import type {
  ManagerEvents,
  MatrixClientManager,
  MatrixClientManagerError,
  MatrixClientManagerOptions,
} from '../../../src/index.js';
import type { HomeserverTarget } from '../../../src/testing/contracts/homeserver-contract.js';
import { tamper } from '../../storage/sqlite/sqlite-file.js';
import { Recorder } from '../../support/recorder.js';
import { rejection } from '../../support/rejection.js';
import { Door } from './door.js';
import type { Passing } from './door.js';
import { Deployment, encryptedRoom } from './encrypted-chats.js';
import { expectEachKeyUsedOnce } from './message-index.js';

const secret = new Uint8Array(32).fill(7);
const newSecret = new Uint8Array(32).fill(8);

/** The device and the keys that others know a user by. */
export async function identityOf(manager: MatrixClientManager, userId: string) {
  const keys = await manager.withClient(userId, (client) => client.getCrypto()?.getOwnDeviceKeys());
  return { deviceId: manager.clientInfo(userId)?.deviceId, ...keys };
}

/** The keys that the homeserver has of a user's devices, by device. */
export async function publishedKeys({ world }: Deployment, userId: string): Promise<Record<string, string>> {
  const { body } = await world.admin.post<{ device_keys: Record<string, Record<string, { keys: object }>> }>(
    '/_matrix/client/v3/keys/query',
    { device_keys: { [userId]: [] } },
  );
  const devices = Object.entries(body.device_keys[userId] ?? {});
  return Object.fromEntries(
    devices.map(([id, { keys }]) => [id, (keys as Record<string, string>)[`ed25519:${id}`] ?? '']),
  );
}

/** Everything that a manager tells of one kind. */
export function told<Name extends keyof ManagerEvents>(
  manager: MatrixClientManager,
  name: Name,
): Parameters<ManagerEvents[Name]>[0][] {
  const events: Parameters<ManagerEvents[Name]>[0][] = [];
  manager.on(name, (event: (typeof events)[number]) => events.push(event));
  return events;
}

/** What becomes of devices with encryption when something goes wrong: on a fake homeserver, and on a real one. */
export function deviceLives(
  it: typeof vitestIt,
  expect: typeof vitestExpect,
  target: () => Promise<HomeserverTarget>,
): void {
  async function chat(options: Partial<MatrixClientManagerOptions> = {}) {
    const door = new Door(await target());
    const deployment = new Deployment(door.target);
    const manager = deployment.start(options);
    const [alice, bob] = [await deployment.user(manager), await deployment.user(manager)];
    const inbox = new Recorder();
    await manager.startClient({ userId: alice });
    await manager.startClient({ userId: bob, callbacks: [inbox.callback] });
    const roomId = await encryptedRoom(manager, [alice, bob]);
    const say = (text: string, userId = alice) => manager.sendMessage({ userId, roomId, text });
    const tokenOf = async (userId: string): Promise<string> => {
      const username = userId.slice(1, userId.indexOf(':'));
      return (await manager.provisionUser({ username })).accessToken;
    };
    return { door, deployment, manager, alice, bob, inbox, roomId, say, tokenOf };
  }

  /** Fails where a message of the room could not be read, or came twice, or was sent with a key that had been used. */
  async function expectNothingLost({ world }: Deployment, roomId: string, token: string, inbox: Recorder) {
    const ids = inbox.events.filter((event) => event.type === 'message').map((event) => event.eventId);
    expect(new Set(ids).size).toBe(ids.length);
    expect(inbox.events.filter((event) => 'decryption' in event && event.decryption?.state === 'failed')).toEqual([]);
    const { baseUrl, fetch = globalThis.fetch } = world.target;
    const url = `${baseUrl}/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/messages?dir=b&limit=100`;
    const answer = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
    const { chunk } = (await answer.json()) as {
      chunk: { type: string; content: { session_id: string; ciphertext: string } }[];
    };
    const encrypted = chunk.filter(({ type }) => type === 'm.room.encrypted');
    expect(encrypted.length).toBeGreaterThan(0);
    expectEachKeyUsedOnce(encrypted.map(({ content }) => content));
  }

  /** Another device of a user's, of a program of its own. */
  async function otherDevice(door: Door, userId: string) {
    const elsewhere = new Deployment(door.target).start();
    await elsewhere.provisionUser({ username: userId.slice(1, userId.indexOf(':')) });
    const seen = new Recorder();
    await elsewhere.startClient({ userId, callbacks: [seen.callback] });
    return { elsewhere, seen };
  }

  it('go on under another secret: those that are live, that send meanwhile, that sleep, and after a restart', async () => {
    const { deployment, manager, alice, bob, inbox, roomId, say } = await chat();
    const carol = await deployment.user(manager);
    await manager.startClient({ userId: carol });
    const users = [alice, bob, carol];
    const identities = (of: MatrixClientManager) => Promise.all(users.map((userId) => identityOf(of, userId)));
    const before = await identities(manager);
    await manager.stopClient(carol);

    const texts = Array.from({ length: 6 }, (_, n) => `around the rotation ${n}`);
    const sent = texts.map(async (text, n) => {
      if (n === 3) await manager.rotateEncryptionSecret(newSecret);
      return say(text, n % 2 === 0 ? alice : bob);
    });
    await Promise.all(sent);
    await inbox.until(() => texts.every((text) => inbox.bodies(roomId).includes(text)));
    expect(await identities(manager)).toEqual(before);
    await manager.stopClient(bob);
    await say('while asleep');
    await manager.shutdown();

    const bytes = readFileSync(deployment.cryptoPath);
    const withOld = deployment.start();
    for (let attempt = 0; attempt < 2; attempt++) {
      const error = await rejection(withOld.startClient({ userId: bob }));
      expect(error).toMatchObject({ code: 'INVALID_OPTIONS', message: expect.stringMatching(/secret/) });
    }
    expect(readFileSync(deployment.cryptoPath).equals(bytes)).toBe(true);
    await withOld.shutdown();

    const withNew = deployment.start({ encryption: { path: deployment.cryptoPath, secret: newSecret } });
    const replaced = told(withNew, 'deviceReplaced');
    await withNew.startClient({ userId: bob, callbacks: [inbox.callback] });
    await inbox.message('while asleep');
    await withNew.sendMessage({ userId: alice, roomId, text: 'under the new secret' });
    await inbox.message('under the new secret');
    expect(await identities(withNew)).toEqual(before);
    expect(replaced).toEqual([]);
    const token = await withNew.withClient(alice, (client) => client.getAccessToken() ?? '');
    await expectNothingLost(deployment, roomId, token, inbox);
  });

  it('keep their keys when an access token dies: live, while sending, and at a start', async () => {
    const { door, deployment, manager, alice, bob, inbox, roomId, say, tokenOf } = await chat();
    const stopped = told(manager, 'clientStopped');
    const before = await identityOf(manager, bob);
    await say('before');
    await inbox.message('before');

    const first = await tokenOf(bob);
    door.killToken(first);
    await manager.withClient(alice, (client) => client.getCrypto()?.forceDiscardSession(roomId));
    await say('while it is dead');
    await inbox.message('while it is dead');
    const second = await tokenOf(bob);
    expect(second).not.toBe(first);

    const answers = new Recorder();
    manager.addCallback(alice, answers.callback);
    door.killToken(second);
    await say('with a dead token', bob);
    await answers.message('with a dead token');
    expect(stopped).toEqual([]);

    await manager.stopClient(bob);
    const third = await tokenOf(bob);
    door.killToken(third);
    await manager.withClient(alice, (client) => client.getCrypto()?.forceDiscardSession(roomId));
    await say('while stopped');
    await manager.startClient({ userId: bob });
    await inbox.message('while stopped');
    expect(await tokenOf(bob)).not.toBe(third);

    expect(await identityOf(manager, bob)).toEqual(before);
    expect(inbox.bodies(roomId)).toEqual(['before', 'while it is dead', 'with a dead token', 'while stopped']);
    await expectNothingLost(deployment, roomId, await tokenOf(alice), inbox);
  });

  it('end where they were deleted while live, and the next start is on a new one', async () => {
    const { deployment, manager, alice, bob, inbox, roomId, say } = await chat({ pollTimeoutMs: 1_000 });
    const [stopped, replaced] = [told(manager, 'clientStopped'), told(manager, 'deviceReplaced')];
    const { deviceId = '' } = await identityOf(manager, bob);
    const ended = new Promise((resolve) => manager.on('clientStopped', resolve));
    await manager.admin.deleteDevice(bob, deviceId);
    await ended;
    expect(stopped).toMatchObject([
      { userId: bob, reason: 'failed', error: { code: 'ENCRYPTION_DEVICE_MISMATCH', userId: bob } },
    ]);
    expect(manager.clientInfo(alice)?.state).toBe('live');
    await manager.startClient({ userId: bob });
    expect(replaced).toMatchObject([{ userId: bob, oldDeviceId: deviceId }]);
    await say('to the new device');
    await inbox.message('to the new device');
    expect(inbox.bodies(roomId)).toEqual(['to the new device']);
    expect(Object.keys(await publishedKeys(deployment, bob))).toEqual([manager.clientInfo(bob)?.deviceId]);
  });

  it('give room keys to a device that they have just heard of', async () => {
    const { door, bob, alice, inbox, say, tokenOf } = await chat();
    await say('before');
    await inbox.message('before');
    const token = await tokenOf(alice);
    const query = door.hold((request) => request.token === token && request.name.endsWith('/keys/query'));
    const { seen } = await otherDevice(door, bob);
    const { let: answer } = await query;
    const sent = say('at once');
    await new Promise((resolve) => setImmediate(resolve));
    answer();
    await sent;
    await Promise.all([inbox.message('at once'), seen.message('at once')]);
  });

  it('give room keys to devices that came while the sync position was lost, live and at a start', async () => {
    const { door, deployment, manager, alice, bob, inbox, roomId, say, tokenOf } = await chat();
    const own = new Recorder();
    manager.addCallback(alice, own.callback);
    await say('before');
    await inbox.message('before');
    await own.message('before');
    const token = await tokenOf(alice);
    const isPoll = ({ name, query, token: by }: Passing): boolean =>
      by === token && name.endsWith('/v3/sync') && query.has('since');
    /** The homeserver rejects every position that it has given to alice so far. */
    const losePosition = (): void => {
      const leave = door.guard((request) => {
        if (isPoll(request)) {
          return Response.json({ errcode: 'M_UNKNOWN', error: 'Invalid stream token' }, { status: 400 });
        }
        if (request.token === token && request.name.endsWith('/v3/sync')) leave();
        return undefined;
      });
    };

    const poll = await door.hold(isPoll);
    const { seen: second } = await otherDevice(door, bob);
    await say('to alice, meanwhile', bob);
    losePosition();
    poll.let();
    await own.message('to alice, meanwhile');
    await say('after the loss');
    await Promise.all([inbox.message('after the loss'), second.message('after the loss')]);

    await manager.stopClient(alice);
    const { elsewhere, seen: third } = await otherDevice(door, bob);
    await elsewhere.sendMessage({ userId: bob, roomId, text: 'to alice, asleep' });
    losePosition();
    await manager.startClient({ userId: alice });
    await own.message('to alice, asleep');
    await say('after a start without position');
    await Promise.all([inbox, own, second, third].map((each) => each.message('after a start without position')));
    const all = [
      'before',
      'to alice, meanwhile',
      'after the loss',
      'to alice, asleep',
      'after a start without position',
    ];
    expect(own.bodies(roomId)).toEqual(all);
    await expectNothingLost(deployment, roomId, token, own);
    await expectNothingLost(deployment, roomId, token, inbox);
  });

  it('give way to new ones where their keys were altered in the file, and only those', async () => {
    const { deployment, manager, alice, bob, inbox: before, roomId, say } = await chat();
    const carol = await deployment.user(manager);
    await manager.startClient({ userId: carol });
    await say('before');
    await before.message('before');
    const users = [alice, bob, carol];
    const identities = await Promise.all(users.map((userId) => identityOf(manager, userId)));
    await manager.shutdown();
    tamper(deployment.cryptoPath, `UPDATE devices SET sealed_key = zeroblob(60) WHERE user_id = '${bob}'`);
    tamper(
      deployment.cryptoPath,
      `UPDATE records SET sealed = zeroblob(100) WHERE id = (SELECT max(records.id) FROM records
       JOIN databases ON databases.id = records.database JOIN devices ON devices.id = databases.device
       WHERE user_id = '${carol}')`,
    );
    const next = deployment.start();
    const replaced = told(next, 'deviceReplaced');
    const inbox = new Recorder();
    await Promise.all(
      users.map((userId) => next.startClient({ userId, callbacks: userId === bob ? [inbox.callback] : [] })),
    );
    const after = await Promise.all(users.map((userId) => identityOf(next, userId)));
    expect(after[0]).toEqual(identities[0]);
    expect(replaced.map(({ userId }) => userId).toSorted()).toEqual([bob, carol].toSorted());
    for (const { userId, deviceId, oldDeviceId, error } of replaced) {
      const at = users.indexOf(userId);
      expect([oldDeviceId, deviceId]).toEqual([identities[at]?.deviceId, after[at]?.deviceId]);
      expect(error).toMatchObject({ code: 'ENCRYPTION_STORE_DAMAGED', userId });
    }
    await next.sendMessage({ userId: alice, roomId, text: 'to the new device' });
    await inbox.message('to the new device');
  });

  it('give way to new ones, each as its user comes, where the whole file was damaged', async () => {
    const { deployment, manager, alice, bob, inbox: before, roomId, say } = await chat();
    await say('before');
    await before.message('before');
    await manager.shutdown();
    writeFileSync(deployment.cryptoPath, Buffer.alloc(16_384, 5));
    const corruptions: unknown[] = [];
    const onCorruption = (info: unknown) => corruptions.push(info);
    const next = deployment.start({ encryption: { path: deployment.cryptoPath, secret, onCorruption } });
    const replaced = told(next, 'deviceReplaced');
    const inbox = new Recorder();
    await next.startClient({ userId: bob, callbacks: [inbox.callback] });
    expect(corruptions).toEqual([expect.objectContaining({ scope: 'file', path: deployment.cryptoPath })]);
    expect(readdirSync(deployment.folder).some((name) => name.startsWith('keys.sqlite.corrupt-'))).toBe(true);
    const code = 'ENCRYPTION_STORE_ROLLED_BACK';
    expect(replaced).toMatchObject([{ userId: bob, error: { code } }]);
    await next.startClient({ userId: alice });
    expect(replaced).toMatchObject([
      { userId: bob, error: { code } },
      { userId: alice, error: { code } },
    ]);
    await next.sendMessage({ userId: alice, roomId, text: 'from new device to new device' });
    await inbox.message('from new device to new device');
    const identity = await identityOf(next, bob);
    await next.shutdown();
    const last = deployment.start();
    const again = told(last, 'deviceReplaced');
    expect(await identityOf(last, bob)).toEqual(identity);
    expect(again).toEqual([]);
  });

  // Requests of the start when they come, and turns of the event loop after it was begun.
  it.each([
    ['stopClient', [/v3\/sync$/, 0]],
    ['shutdown', [/keys\/query$/, /v3\/sync$/, /keys\/upload$/, 20]],
  ] as const)(
    'have working keys after a %s in the middle of their first start',
    async (end, moments) => {
      const { door, deployment, manager: first, alice } = await chat();
      let manager = first;
      const users: string[] = [];
      for (const moment of moments) {
        const userId = await deployment.user(manager);
        const { accessToken } = await manager.provisionUser({ username: userId.slice(1, userId.indexOf(':')) });
        users.push(userId);
        const reached =
          typeof moment === 'number'
            ? turns(moment)
            : door.seen(({ token, name }) => token === accessToken && moment.test(name));
        const starting = manager.startClient({ userId }).then(
          () => 'live',
          (error: MatrixClientManagerError) => error.code,
        );
        await reached;
        await (end === 'shutdown' ? manager.shutdown() : manager.stopClient(userId));
        expect(await starting).toBe(end === 'shutdown' ? 'MANAGER_CLOSED' : 'live');
        if (end === 'shutdown') manager = deployment.start();
      }

      const replaced = told(manager, 'deviceReplaced');
      const inboxes = users.map(() => new Recorder());
      await Promise.all(
        users.map((userId, n) => manager.startClient({ userId, callbacks: [(inboxes[n] as Recorder).callback] })),
      );
      expect(replaced).toEqual([]);
      for (const userId of users) {
        const { deviceId = '', ed25519 } = await identityOf(manager, userId);
        expect(await publishedKeys(deployment, userId)).toEqual({ [deviceId]: ed25519 });
      }
      const roomId = await encryptedRoom(manager, [alice, ...users]);
      await manager.sendMessage({ userId: alice, roomId, text: 'to all of them' });
      await Promise.all(inboxes.map((inbox) => inbox.message('to all of them')));
    },
    60_000,
  );
}

function turns(count: number): Promise<void> {
  return count === 0 ? Promise.resolve() : new Promise((resolve) => setImmediate(resolve)).then(() => turns(count - 1));
}
