import { describe, expect, it } from 'vitest';
import { activityPolicy, MatrixClientManager, sqliteStorage, SynapseAdminProvisioner } from '../../src/index.js';
import { FakeHomeserver } from '../../src/testing/index.js';
import { undiciTransport } from '../../src/undici/index.js';
import { allTextOf } from '../support/all-text-of.js';
import { managerOnFake } from '../support/manager-on-fake.js';
import { rejection } from '../support/rejection.js';

const userId = '@alice:hs.test';
const roomId = '!room:hs.test';
const eventId = '$event';
const homeserverUrl = 'https://hs.test';
const admin = { userId, accessToken: 'syt_secret' };
const sealed = { path: ':memory:', secret: 'a secret of the tests' };
const content = { msgtype: 'm.text', body: 'x' };

type Call = (manager: MatrixClientManager, options: never) => unknown;

/** Every call that takes options, with good ones. */
const calls: Record<string, [Call, object]> = {
  startClient: [(manager, options) => manager.startClient(options), { userId }],
  provisionUser: [(manager, options) => manager.provisionUser(options), { username: 'alice' }],
  addCallback: [(manager, options) => manager.addCallback(userId, () => {}, options), { types: ['message'] }],
  getRoomMessages: [(manager, options) => manager.getRoomMessages(options), { roomId, userId }],
  sendMessage: [(manager, options) => manager.sendMessage(options), { userId, roomId, text: 'x' }],
  sendFile: [
    (manager, options) => manager.sendFile(options),
    { userId, roomId, file: { name: 'x', body: new Uint8Array(1) } },
  ],
  'the file of sendFile': [
    (manager, file) => manager.sendFile({ userId, roomId, file }),
    { name: 'x', body: new Uint8Array(1) },
  ],
  downloadFile: [(manager, options) => manager.downloadFile(options), { userId, content }],
  listSends: [(manager, options) => manager.listSends(options), { userId }],
  sendTyping: [(manager, options) => manager.sendTyping(options), { userId, roomId, typing: true }],
  sendReadReceipt: [(manager, options) => manager.sendReadReceipt(options), { userId, roomId, eventId }],
  resetIdentity: [(manager, options) => manager.resetIdentity(userId, options), {}],
  'admin.listUsers': [(manager, options) => manager.admin.listUsers(options), {}],
  'admin.deactivateUser': [(manager, options) => manager.admin.deactivateUser(userId, options), {}],
  activityPolicy: [(_, options) => activityPolicy(options), { idleTimeoutMs: 5 }],
  sqliteStorage: [(_, options) => sqliteStorage(options), sealed],
  undiciTransport: [(_, options) => undiciTransport(options), {}],
  'the tls of undiciTransport': [(_, tls) => undiciTransport({ tls }), {}],
  SynapseAdminProvisioner: [(_, options) => new SynapseAdminProvisioner(options), { homeserverUrl, admin }],
  'the admin of SynapseAdminProvisioner': [
    (_, account) => new SynapseAdminProvisioner({ homeserverUrl, admin: account }),
    admin,
  ],
  'the manager': [(_, options) => new MatrixClientManager(options), { homeserverUrl }],
  'the admin of the manager': [(_, account) => new MatrixClientManager({ homeserverUrl, admin: account }), admin],
  'the rateLimit of the manager': [
    (_, rateLimit) => new MatrixClientManager({ homeserverUrl, rateLimit }),
    { perSecond: 5 },
  ],
  'the encryption of the manager': [
    (_, encryption) => new MatrixClientManager({ homeserverUrl, encryption }),
    { ...sealed, users: () => false },
  ],
  FakeHomeserver: [(_, options) => new FakeHomeserver(options), {}],
};

describe.each(Object.entries(calls))('%s', (_name, [call, good]) => {
  it.each(['transactionId', 'callback', 'displayname', 'constructor', 'toString', '__proto__'])(
    'refuses the unknown option %j, and names those that there are',
    async (unknown) => {
      const { fake, manager } = managerOnFake();
      const options = JSON.parse(`{ ${JSON.stringify(unknown)}: "syt_secret" }`) as object;
      const all = Object.defineProperties({ ...good }, Object.getOwnPropertyDescriptors(options));
      const error = await rejection(async () => call(manager, all as never));
      expect(error).toMatchObject({ code: 'INVALID_OPTIONS' });
      expect(error.message).toMatch(/^there is no option `/);
      expect(error.message).toContain(unknown);
      for (const known of Object.keys(good)) expect(error.message).toContain(known);
      expect(allTextOf(error)).not.toContain('syt_secret');
      expect(fake.requests).toEqual([]);
    },
  );
});

const half = 'shipped \ud83d';

/** Every text that an application passes, with half an emoji in it. */
const texts: Record<string, (manager: MatrixClientManager) => unknown> = {
  text: (manager) => manager.sendMessage({ userId, roomId, text: half }),
  'a durable text': (manager) => manager.sendMessage({ userId, roomId, text: half, durable: true }),
  html: (manager) => manager.sendMessage({ userId, roomId, text: 'x', html: half }),
  'a string in a content': (manager) => manager.sendMessage({ userId, roomId, content: { a: [{ b: half }] } }),
  'a key in a content': (manager) => manager.sendMessage({ userId, roomId, content: { a: [{ [half]: 1 }] } }),
  'a txnId': (manager) => manager.sendMessage({ userId, roomId, text: 'x', txnId: half }),
  'an event type': (manager) => manager.sendMessage({ userId, roomId, text: 'x', type: half }),
  'a room id': (manager) => manager.sendMessage({ userId, roomId: '!a\ud83d:hs.test', text: 'x' }),
  'a room id of a page': (manager) => manager.getRoomMessages('!a\ud83d:hs.test'),
  'a room id of typing': (manager) => manager.sendTyping({ userId, roomId: '!a\ud83d', typing: true }),
  'an event id': (manager) => manager.sendReadReceipt({ userId, roomId, eventId: '$a\ud83d' }),
  'a file name': (manager) => manager.sendFile({ userId, roomId, file: { name: half, body: new Uint8Array(1) } }),
  'a mime type': (manager) =>
    manager.sendFile({ userId, roomId, file: { name: 'x', mimeType: half, body: new Uint8Array(1) } }),
  'the info of a file': (manager) =>
    manager.sendFile({ userId, roomId, file: { name: 'x', info: { a: half }, body: new Uint8Array(1) } }),
  'a msgtype': (manager) =>
    manager.sendFile({ userId, roomId, msgtype: half, file: { name: 'x', body: new Uint8Array(1) } }),
  'the txnId of a file': (manager) =>
    manager.sendFile({ userId, roomId, txnId: half, file: { name: 'x', body: new Uint8Array(1) } }),
  'a username': (manager) => manager.provisionUser({ username: half }),
  'a username to normalize': (manager) => manager.provisionUser({ username: half, normalizeUsername: true }),
  'a display name': (manager) => manager.provisionUser({ username: 'alice', displayName: half }),
  'a device id': (manager) => manager.provisionUser({ username: 'alice', deviceId: half }),
  'the device id of a start': (manager) => manager.startClient({ userId, accessToken: 'x', deviceId: half }),
  'an access token': (manager) => manager.startClient({ userId, accessToken: `syt_${half}` }),
  'a room of a callback': (manager) => manager.addCallback(userId, () => {}, { rooms: ['!a\ud83d'] }),
  'admin.setDisplayName': (manager) => manager.admin.setDisplayName(userId, half),
  'admin.deleteDevice': (manager) => manager.admin.deleteDevice(userId, half),
  'admin.joinRoom': (manager) => manager.admin.joinRoom(userId, '#a\ud83d:hs.test'),
  'admin.listUsers by name': (manager) => manager.admin.listUsers({ name: half }),
  'admin.listUsers from': (manager) => manager.admin.listUsers({ from: half }),
  'admin.isUsernameAvailable': (manager) => manager.admin.isUsernameAvailable(half),
  'the admin’s password': () => new MatrixClientManager({ homeserverUrl, admin: { userId, password: half } }),
  'a user id': (manager) => manager.startClient({ userId: '@a\ud83d:hs.test' }),
};

describe('half an emoji', () => {
  it.each(Object.entries(texts))('is refused before any request as %s', async (_what, call) => {
    const { fake, manager, storage } = managerOnFake();
    await storage.setCredentials({ userId, accessToken: 'x', deviceId: 'X' });
    const error = await rejection(async () => call(manager));
    expect(['INVALID_OPTIONS', 'INVALID_USER_ID']).toContain(error.code);
    expect(error.message.isWellFormed()).toBe(true);
    expect(error.message).not.toContain('syt_');
    expect(fake.requests).toEqual([]);
    expect(await storage.listSends()).toEqual([]);
  });
});

describe('content without end', () => {
  const nested = (levels: number): Record<string, unknown> => {
    let value: Record<string, unknown> = {};
    for (let n = 0; n < levels; n++) value = { a: value };
    return value;
  };
  const deep: Record<string, (manager: MatrixClientManager) => unknown> = {
    sendMessage: (manager) => manager.sendMessage({ userId, roomId, content: nested(20_000) }),
    'a durable sendMessage': (manager) =>
      manager.sendMessage({ userId, roomId, content: nested(20_000), durable: true }),
    'the info of sendFile': (manager) =>
      manager.sendFile({ userId, roomId, file: { name: 'x', info: nested(20_000), body: new Uint8Array(1) } }),
    downloadFile: (manager) => manager.downloadFile({ userId, content: nested(20_000) }),
    '120 levels': (manager) => manager.sendMessage({ userId, roomId, content: nested(120) }),
    'a megabyte of info': (manager) =>
      manager.sendFile({
        userId,
        roomId,
        file: { name: 'x', info: { a: 'x'.repeat(1_000_000) }, body: new Uint8Array(1) },
      }),
  };
  it.each(Object.entries(deep))('is refused with a coded error before any request: %s', async (_what, call) => {
    const { fake, manager, storage } = managerOnFake();
    await storage.setCredentials({ userId, accessToken: 'x', deviceId: 'X' });
    const error = await rejection(async () => call(manager));
    expect(error.code).toMatch(/INVALID_OPTIONS|FILE_DAMAGED/);
    expect(fake.requests).toEqual([]);
  });
});

describe('a redaction by sendMessage', () => {
  it.each([{ reason: 'spam' }, { redacts: 'nothing' }, { redacts: null }])(
    'is refused where it names no event: %j',
    async (redaction) => {
      const { fake, manager, storage } = managerOnFake();
      await storage.setCredentials({ userId, accessToken: 'x', deviceId: 'X' });
      const sending = manager.sendMessage({ userId, roomId, type: 'm.room.redaction', content: redaction });
      const error = await rejection(sending);
      expect(error).toMatchObject({ code: 'INVALID_OPTIONS' });
      expect(error.message).toContain('content.redacts');
      expect(fake.requests).toEqual([]);
    },
  );
});

describe('options', () => {
  it('are read once: what a getter gives after the check is not used', async () => {
    const { fake, manager } = managerOnFake();
    const alice = fake.createUser({ username: 'alice' });
    const room = fake.createRoom({ creator: alice.userId });
    await manager.startClient(alice);
    let reads = 0;
    const options = {
      userId: alice.userId,
      roomId: room,
      get text() {
        return reads++ === 0 ? 'first' : ({ not: 'text' } as never);
      },
    };
    await manager.sendMessage(options);
    expect(fake.events(room).at(-1)?.content).toMatchObject({ body: 'first' });
    await manager.shutdown();
  });

  it('that throw when they are read are refused with the cause', async () => {
    const { manager } = managerOnFake();
    const cause = new Error('no such row');
    const options = {
      userId,
      roomId,
      get text(): string {
        throw cause;
      },
    };
    expect(await rejection(manager.sendMessage(options))).toMatchObject({ code: 'INVALID_OPTIONS', cause });
  });
});
