import { join } from 'node:path';
import type { expect as vitestExpect, it as vitestIt } from 'vitest';
import { memoryStorage, sqliteStorage } from '../../../src/index.js';
import type { MatrixClientManager, MatrixClientManagerOptions } from '../../../src/index.js';
import type { HomeserverTarget } from '../../../src/testing/contracts/homeserver-contract.js';
import { path } from '../../../src/testing/contracts/homeserver/raw-http.js';
import { tamper } from '../../storage/sqlite/sqlite-file.js';
import { Recorder } from '../../support/recorder.js';
import { rejection } from '../../support/rejection.js';
import { Deployment, encryptedRoom } from './encrypted-chats.js';
import { Liar } from './liar.js';

const secret = new Uint8Array(32).fill(7);
const ALGORITHM = 'm.megolm.v1.aes-sha2';
const WEEK_MS = 604_800_000;

type Content = Record<string, unknown>;

/** What a homeserver may say of the encryption of a room, and what is sent there all the same: on a fake and a real one. */
export function lyingHomeserver(
  it: typeof vitestIt,
  expect: typeof vitestExpect,
  target: () => Promise<HomeserverTarget>,
): void {
  async function chat(settings: Content = {}) {
    const liar = new Liar(await target());
    const deployment = new Deployment(liar.target);
    let manager = deployment.start();
    const [alice, bob] = [await deployment.user(manager), await deployment.user(manager)];
    await manager.startClient({ userId: alice });
    await manager.startClient({ userId: bob });
    const roomId = await encryptedRoom(manager, [alice, bob], manager, settings);
    /** Another process with the same files. @param losesPositions - whether all clients begin anew */
    const restart = async (how: Restart = {}): Promise<MatrixClientManager> => {
      const { losesPositions = false, forgetsRooms = false, ...more } = how;
      await manager.shutdown();
      if (losesPositions) await losePositions(deployment, [alice, bob]);
      if (forgetsRooms)
        tamper(join(deployment.folder, 'app.sqlite'), `DELETE FROM records WHERE kind = 'encryptedRoom'`);
      return (manager = deployment.start(more));
    };
    return { liar, deployment, manager, alice, bob, roomId, restart };
  }
  interface Restart extends Partial<MatrixClientManagerOptions> {
    readonly losesPositions?: boolean;
    /** As in a storage that was written before rooms were remembered. */
    readonly forgetsRooms?: boolean;
  }

  /** Sends in every way that a call has. */
  async function sendInEveryWay(manager: MatrixClientManager, userId: string, roomId: string): Promise<void> {
    const { eventId } = await manager.sendMessage({ userId, roomId, text: 'top secret' });
    const newContent = { msgtype: 'm.text', body: 'top secret, edited' };
    const relation = { rel_type: 'm.replace', event_id: eventId };
    const content = { ...newContent, 'm.new_content': newContent, 'm.relates_to': relation };
    await manager.sendMessage({ userId, roomId, content });
    await manager.sendMessage({ userId, roomId, text: 'top secret', durable: true });
    const file = { body: Buffer.from('top secret, in a file'), name: 'plan.txt', mimeType: 'text/plain' };
    await manager.sendFile({ userId, roomId, file });
  }

  function expectNothingReadable(liar: Liar): void {
    expect(liar.hasSent('top secret')).toBe(false);
    expect(liar.sentTypes.filter((type) => type !== 'm.room.encrypted' && type !== 'file')).toEqual([]);
  }

  it('that hides that a room is encrypted gets nothing readable by a user without a client', async () => {
    const { liar, alice, roomId, restart } = await chat();
    const manager = await restart();
    liar.hideEncryption({ roomId });
    await sendInEveryWay(manager, alice, roomId);
    expectNothingReadable(liar);
  });

  it('that hides it gets nothing readable by clients that have lost their position, and others read it', async () => {
    const { liar, alice, bob, roomId, restart } = await chat();
    const manager = await restart({ losesPositions: true });
    liar.hideEncryption({ roomId });
    const inbox = new Recorder();
    await manager.startClient({ userId: bob, callbacks: [inbox.callback] });
    await manager.startClient({ userId: alice });
    await sendInEveryWay(manager, alice, roomId);
    expectNothingReadable(liar);
    expect(await inbox.message('top secret')).toMatchObject({ decryption: { state: 'decrypted' } });
    await manager.withClient(alice, (client) => client.sendTextMessage(roomId, 'top secret, by the SDK'));
    expectNothingReadable(liar);
  });

  it("that leaves out an encrypted room gets nothing readable by the SDK's own calls, delayed events either", async () => {
    const { liar, manager, alice, roomId } = await chat();
    const failures = await manager.withClient(alice, async (client) => {
      client.doesServerSupportUnstableFeature = async () => true;
      const content = { msgtype: 'm.text', body: 'top secret, delayed' };
      const delayed = client._unstable_sendDelayedEvent(
        roomId,
        { delay: 1_000 },
        null,
        'm.room.message' as never,
        content as never,
      );
      const whileKnown = await rejection(delayed);
      client.store.removeRoom(roomId);
      return [whileKnown, await rejection(client.sendTextMessage(roomId, 'top secret'))];
    });
    for (const failure of failures) expect(failure).toMatchObject({ code: 'ENCRYPTION_FAILED', userId: alice, roomId });
    expectNothingReadable(liar);
  });

  it('that hides it gets nothing readable by a user who joins later, since another one has seen it', async () => {
    const { liar, deployment, manager, alice, roomId } = await chat();
    liar.hideEncryption({ roomId });
    const carol = await deployment.user(manager);
    await manager.withClient(alice, (client) => client.invite(roomId, carol));
    await manager.withClient(carol, (client) => client.joinRoom(roomId));
    await sendInEveryWay(manager, carol, roomId);
    const withoutClient = await deployment.user(manager);
    await manager.withClient(alice, (client) => client.invite(roomId, withoutClient));
    const username = withoutClient.slice(1, withoutClient.indexOf(':'));
    const { accessToken } = await manager.provisionUser({ username });
    const { baseUrl, fetch = globalThis.fetch } = liar.target;
    const headers = { authorization: `Bearer ${accessToken}` };
    await fetch(baseUrl + path`/_matrix/client/v3/rooms/${roomId}/join`, { method: 'POST', headers, body: '{}' });
    await sendInEveryWay(manager, withoutClient, roomId);
    expectNothingReadable(liar);
  });

  it('that hides it gets nothing from users and managers without encryption', async () => {
    const { liar, deployment, alice, roomId, restart } = await chat();
    liar.hideEncryption({ roomId });
    for (const encryption of [{ path: deployment.cryptoPath, secret, users: () => false }, undefined as never]) {
      const manager = await restart({ encryption });
      const refused = await rejection(manager.sendMessage({ userId: alice, roomId, text: 'top secret' }));
      expect(refused).toMatchObject({ code: 'ENCRYPTION_UNAVAILABLE', roomId });
      const file = { body: Buffer.from('top secret'), name: 'plan.txt' };
      expect(await rejection(manager.sendFile({ userId: alice, roomId, file }))).toMatchObject({
        code: 'ENCRYPTION_UNAVAILABLE',
      });
    }
    expectNothingReadable(liar);
  });

  it('that hides it gets nothing readable where only the keys of the device know it', async () => {
    const { liar, alice, roomId, restart } = await chat();
    liar.hideEncryption({ roomId });
    const manager = await restart({ losesPositions: true, forgetsRooms: true });
    await manager.startClient({ userId: alice });
    await sendInEveryWay(manager, alice, roomId);
    expectNothingReadable(liar);
  });

  it('gets nothing while the storage does not say whether a room was seen encrypted', async () => {
    const liar = new Liar(await target());
    const deployment = new Deployment(liar.target);
    const getEncryptedRooms = () => Promise.reject(new Error('disk full'));
    const manager = deployment.start({ storage: Object.assign(memoryStorage(), { getEncryptedRooms }) });
    const alice = await deployment.user(manager);
    const { room_id: roomId } = await manager.withClient(alice, (client) => client.createRoom({}));
    for (const start of [true, false]) {
      if (!start) await manager.stopClient(alice);
      const refused = await rejection(manager.sendMessage({ userId: alice, roomId, text: 'top secret' }));
      expect(refused).toMatchObject({ code: 'STORAGE' });
    }
    expectNothingReadable(liar);
  });

  it('that hides it gets nothing readable after an upgrade, once a client has resumed', async () => {
    const { liar, alice, bob, roomId, restart } = await chat();
    const manager = await restart({ forgetsRooms: true });
    liar.hideEncryption({ roomId });
    await manager.startClient({ userId: alice });
    await sendInEveryWay(manager, bob, roomId);
    expectNothingReadable(liar);
  });

  it('that hides it gets nothing readable where only a page of messages has shown it', async () => {
    const { liar, manager, alice, bob, roomId } = await chat();
    await manager.shutdown();
    const other = new Deployment(liar.target);
    const next = other.start();
    for (const userId of [alice, bob]) await next.provisionUser({ username: userId.slice(1, userId.indexOf(':')) });
    await next.getRoomMessages({ userId: bob, roomId });
    liar.hideEncryption({ roomId });
    await sendInEveryWay(next, alice, roomId);
    expectNothingReadable(liar);
  });

  it('of a room that becomes encrypted during an upload gets the file again, encrypted, and no clear message', async () => {
    const liar = new Liar(await target());
    const deployment = new Deployment(liar.target);
    const manager = deployment.start();
    const alice = await deployment.user(manager);
    const { room_id: roomId } = await manager.withClient(alice, (client) => client.createRoom({}));
    let uploads = 0;
    liar.onRequest = async (method, pathname) => {
      if (method !== 'POST' || !pathname.endsWith('/media/v3/upload') || uploads++ > 0) return;
      await setEncryption(manager, alice, roomId, { algorithm: ALGORITHM });
    };
    const file = { body: Buffer.from('some bytes'), name: 'plan.txt', mimeType: 'text/plain' };
    await manager.sendFile({ userId: alice, roomId, file });
    expect(uploads).toBe(2);
    expect(liar.sentTypes).toEqual(['file', 'file', 'm.room.encrypted']);
  });

  it('cannot be helped by a member who sends what looks like encryption to make sends impossible', async () => {
    const liar = new Liar(await target());
    const deployment = new Deployment(liar.target);
    const users: { none?: string } = {};
    const encryption = { path: deployment.cryptoPath, secret, users: (userId: string) => userId !== users.none };
    const manager = deployment.start({ encryption });
    const [alice, mallory] = [await deployment.user(manager), await deployment.user(manager)];
    users.none = alice;
    const { room_id: roomId } = await manager.withClient(mallory, (client) => client.createRoom({ invite: [alice] }));
    await manager.withClient(alice, (client) => client.joinRoom(roomId));
    for (const type of ['m.room.encryption', 'm.room.encrypted']) {
      await manager.sendMessage({
        userId: mallory,
        roomId,
        type,
        content: { algorithm: ALGORITHM, ciphertext: 'none' },
      });
    }
    await manager.getRoomMessages({ userId: alice, roomId });
    await manager.sendMessage({ userId: alice, roomId, text: 'in the clear' });
    expect(liar.hasSent('in the clear')).toBe(true);
  });

  const changes: readonly (readonly [name: string, first: Content, later: Content, effective: Content])[] = [
    ['fewer messages', {}, { rotation_period_msgs: 2 }, { rotation_period_msgs: 2 }],
    ['more messages', { rotation_period_msgs: 2 }, { rotation_period_msgs: 500 }, { rotation_period_msgs: 2 }],
    ['a shorter period', {}, { rotation_period_ms: 3_600_000 }, { rotation_period_ms: 3_600_000 }],
    [
      'a longer period',
      { rotation_period_ms: 3_600_000 },
      { rotation_period_ms: 9e11 },
      { rotation_period_ms: 3_600_000 },
    ],
    ['the defaults written out', {}, { rotation_period_msgs: 100, rotation_period_ms: WEEK_MS }, {}],
    ['the defaults left out', { rotation_period_msgs: 100, rotation_period_ms: WEEK_MS }, {}, {}],
    ['a limit left out', { rotation_period_msgs: 2 }, {}, { rotation_period_msgs: 2 }],
    [
      'one limit stricter, the other looser',
      { rotation_period_msgs: 2, rotation_period_ms: 3_600_000 },
      { rotation_period_msgs: 1, rotation_period_ms: WEEK_MS },
      { rotation_period_msgs: 1, rotation_period_ms: 3_600_000 },
    ],
  ];
  it.each(changes)(
    'or an admin who changes a room to %s does not end its messages',
    async (_name, first, later, effective) => {
      const { liar, manager, alice, roomId, restart } = await chat(first);
      const expected = { algorithm: ALGORITHM, rotation_period_ms: WEEK_MS, rotation_period_msgs: 100, ...effective };
      const sessions = async (on: MatrixClientManager, count: number): Promise<unknown[]> => {
        const ids: unknown[] = [];
        for (let n = 0; n < count; n++) ids.push(await sessionOf(on, alice, roomId));
        return ids;
      };
      await sessions(manager, 1);
      await setEncryption(manager, alice, roomId, { algorithm: ALGORITHM, ...later });
      const live = await sessions(manager, 3);
      const again = await restart();
      const resumed = await sessions(again, 3);
      const anew = await restart({ losesPositions: true });
      const begun = await sessions(anew, 3);
      const messages = expected.rotation_period_msgs;
      for (const ids of [live, resumed, begun])
        expect(new Set(ids).size).toBe(messages === 1 ? 3 : messages === 2 ? 2 : 1);
      expect(await settingsOf(anew, alice, roomId)).toEqual(expected);
      expectNothingReadable(liar);
    },
  );

  const settings = { rotation_period_msgs: 2, rotation_period_ms: 3_600_000 };
  it.each([
    ['an empty content', {}],
    ['an unknown algorithm', { algorithm: 'm.other', rotation_period_msgs: 900 }],
    ['a redaction', 'redact' as const],
  ])('or an admin who replaces the settings by %s leaves the earlier ones', async (_name, change) => {
    const { liar, manager, alice, roomId, restart } = await chat();
    const expected = { algorithm: ALGORITHM, ...settings };
    const eventId = await setEncryption(manager, alice, roomId, expected);
    if (change === 'redact') await manager.withClient(alice, (client) => client.redactEvent(roomId, eventId));
    else await setEncryption(manager, alice, roomId, change);
    for (const losesPositions of [undefined, false, true]) {
      const on = losesPositions === undefined ? manager : await restart({ losesPositions });
      await on.sendMessage({ userId: alice, roomId, text: 'top secret' });
      expect(await settingsOf(on, alice, roomId)).toEqual(expected);
    }
    expectNothingReadable(liar);
  });

  it.each([
    ['fractions', { rotation_period_ms: 3_600_000.5, rotation_period_msgs: 2.5 }, [3_600_000, 2]],
    ['negative numbers', { rotation_period_ms: -1, rotation_period_msgs: -5 }, [WEEK_MS, 100]],
    ['zeros', { rotation_period_ms: 0, rotation_period_msgs: 0 }, [WEEK_MS, 100]],
    ['huge numbers', { rotation_period_ms: 1e300, rotation_period_msgs: 1e300 }, [31_536_000_000, 10_000]],
    ['texts', { rotation_period_ms: '1', rotation_period_msgs: {} }, [WEEK_MS, 100]],
  ])('that shows %s as limits does not end the messages', async (_name, limits, [periodMs, messages]) => {
    const liar = new Liar(await target());
    const deployment = new Deployment(liar.target);
    const manager = deployment.start();
    const alice = await deployment.user(manager);
    liar.changeEncryption({}, { algorithm: ALGORITHM, ...limits });
    await manager.startClient({ userId: alice });
    const roomId = await encryptedRoom(manager, [alice]);
    await manager.sendMessage({ userId: alice, roomId, text: 'top secret' });
    const expected = { algorithm: ALGORITHM, rotation_period_ms: periodMs, rotation_period_msgs: messages };
    expect(await settingsOf(manager, alice, roomId)).toEqual(expected);
    expectNothingReadable(liar);
  });

  it('that shows an unknown algorithm from the beginning gets an error at once, with the reason', async () => {
    const liar = new Liar(await target());
    const deployment = new Deployment(liar.target);
    const manager = deployment.start();
    const alice = await deployment.user(manager);
    liar.changeEncryption({}, { algorithm: 'm.other' });
    await manager.startClient({ userId: alice });
    const roomId = await encryptedRoom(manager, [alice]);
    const error = await rejection(manager.sendMessage({ userId: alice, roomId, text: 'top secret' }));
    expect(error).toMatchObject({ code: 'ENCRYPTION_FAILED', userId: alice, roomId });
    expect(error.message).toContain('"m.other"');
    expectNothingReadable(liar);
  });
}

/** Sets the settings of a room, and waits until the user's client has them. Returns the id of the event. */
async function setEncryption(
  manager: MatrixClientManager,
  userId: string,
  roomId: string,
  content: Content,
): Promise<string> {
  return manager.withClient(userId, async (client) => {
    const { event_id: eventId } = await client.sendStateEvent(
      roomId,
      'm.room.encryption' as never,
      content as never,
      '',
    );
    const hasIt = (): boolean =>
      client.getRoom(roomId)?.currentState.getStateEvents('m.room.encryption', '')?.getId() === eventId;
    while (!hasIt()) await new Promise((resolve) => client.once('sync' as never, resolve as never));
    return eventId;
  });
}

/** Sends a message; resolves to the id of the Megolm session that it was sent with. */
async function sessionOf(manager: MatrixClientManager, userId: string, roomId: string): Promise<unknown> {
  const { eventId } = await manager.sendMessage({ userId, roomId, text: 'top secret' });
  const event = await manager.withClient(userId, (client) => client.fetchRoomEvent(roomId, eventId));
  return event.content?.session_id;
}

/** The settings that the user's client encrypts for the room with. */
function settingsOf(manager: MatrixClientManager, userId: string, roomId: string): Promise<unknown> {
  return manager.withClient(userId, (client) => {
    const crypto = client.getCrypto() as unknown as { roomEncryptors: Record<string, { encryptionSettings: unknown }> };
    return crypto.roomEncryptors[roomId]?.encryptionSettings;
  });
}

async function losePositions(deployment: Deployment, userIds: readonly string[]): Promise<void> {
  await using storage = sqliteStorage({ path: join(deployment.folder, 'app.sqlite'), secret });
  for (const userId of userIds) {
    const { rooms } = await storage.loadCheckpoint(userId);
    const noRooms = new Map([...rooms.keys()].map((roomId) => [roomId, null]));
    await storage.commit(userId, { since: null, accountData: null, rooms: noRooms });
  }
}
