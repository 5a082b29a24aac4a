import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { expect as vitestExpect, it as vitestIt } from 'vitest';
import { MatrixClientManager, sqliteStorage } from '../../../src/index.js';
import type { MatrixClientManagerOptions } from '../../../src/index.js';
import type { HomeserverTarget } from '../../../src/testing/contracts/homeserver-contract.js';
import { World } from '../../../src/testing/contracts/homeserver/world.js';
import { temporaryFolder } from '../../storage/temporary-folder.js';
import { Recorder } from '../../support/recorder.js';
import { rejection } from '../../support/rejection.js';

const secret = new Uint8Array(32).fill(7);
const initialState = (settings: object) => [
  { type: 'm.room.encryption', state_key: '', content: { algorithm: 'm.megolm.v1.aes-sha2', ...settings } },
  { type: 'm.room.history_visibility', state_key: '', content: { history_visibility: 'shared' } },
];

/** One deployment: a folder, and managers on it one after the other. */
export class Deployment {
  readonly world: World;
  readonly folder: string;
  #managers: MatrixClientManager[] = [];

  constructor(target: HomeserverTarget, folder = temporaryFolder()) {
    this.world = new World(target);
    this.folder = folder;
    onTestFinished(async () => {
      await Promise.all(this.#managers.map((manager) => manager.shutdown()));
    });
  }

  get cryptoPath(): string {
    return join(this.folder, 'keys.sqlite');
  }

  start(options: Partial<MatrixClientManagerOptions> = {}): MatrixClientManager {
    const { baseUrl, admin, fetch } = this.world.target;
    const manager = new MatrixClientManager({
      homeserverUrl: baseUrl,
      admin: { userId: admin.userId, accessToken: admin.accessToken },
      ...(fetch && { fetch }),
      storage: sqliteStorage({ path: join(this.folder, 'app.sqlite'), secret }),
      encryption: { path: this.cryptoPath, secret },
      pollTimeoutMs: 5_000,
      ...options,
    });
    this.#managers.push(manager);
    return manager;
  }

  async user(manager: MatrixClientManager): Promise<string> {
    return (await manager.provisionUser({ username: this.world.newUsername() })).userId;
  }
}

/**
 * An encrypted room with these users in it, made by the first.
 * @param othersManager - the manager of those that join
 * @param settings - further content of the room's `m.room.encryption` event
 */
export async function encryptedRoom(
  manager: MatrixClientManager,
  [creator = '', ...others]: string[],
  othersManager = manager,
  settings: object = {},
): Promise<string> {
  const { room_id: roomId } = await manager.withClient(creator, (client) =>
    client.createRoom({
      preset: 'private_chat' as never,
      invite: others,
      initial_state: initialState(settings),
    }),
  );
  for (const userId of others) await othersManager.withClient(userId, (client) => client.joinRoom(roomId));
  // Who sends must know who has come, or they send without a key for them.
  await manager.withClient(creator, async (client) => {
    while (client.getRoom(roomId)?.getJoinedMemberCount() !== others.length + 1) {
      await new Promise((resolve) => client.once('sync' as never, resolve as never));
    }
  });
  return roomId;
}

/** What users of one manager can do in encrypted rooms: on a fake homeserver, and a real one. */
export function encryptedChats(
  it: typeof vitestIt,
  expect: typeof vitestExpect,
  target: () => Promise<HomeserverTarget>,
): void {
  async function chat(options: Partial<MatrixClientManagerOptions> = {}) {
    const deployment = new Deployment(await target());
    const manager = deployment.start(options);
    const [alice, bob] = [await deployment.user(manager), await deployment.user(manager)];
    const inbox = new Recorder();
    await manager.startClient({ userId: alice });
    await manager.startClient({ userId: bob, callbacks: [inbox.callback] });
    const roomId = await encryptedRoom(manager, [alice, bob]);
    return { deployment, manager, alice, bob, inbox, roomId };
  }

  it('come decrypted to callbacks, in order, and nothing readable reaches the homeserver', async () => {
    const { deployment, manager, alice, inbox, roomId } = await chat();
    const texts = ['one', 'two', 'three'];
    const sent = await Promise.all(texts.map((text) => manager.sendMessage({ userId: alice, roomId, text })));
    await inbox.message('three');
    expect(inbox.bodies(roomId)).toEqual(texts);
    const event = inbox.events.find((event) => 'eventId' in event && event.eventId === sent[0]?.eventId);
    expect(event).toMatchObject({
      type: 'message',
      eventType: 'm.room.message',
      encrypted: true,
      decryption: { state: 'decrypted' },
      provenance: 'live',
    });
    const token = await manager.withClient(alice, (client) => client.getAccessToken());
    const { baseUrl, fetch = globalThis.fetch } = deployment.world.target;
    const url = `${baseUrl}/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/messages?dir=b&limit=50`;
    const history = await (await fetch(url, { headers: { authorization: `Bearer ${token}` } })).text();
    expect(history).toContain('m.room.encrypted');
    expect(history).not.toContain('"three"');
  });

  it('are the same message for the same txnId', async () => {
    const { manager, alice, inbox, roomId } = await chat();
    const message = { userId: alice, roomId, text: 'once', txnId: 'mine' };
    const first = await manager.sendMessage(message);
    expect(await manager.sendMessage(message)).toEqual(first);
    const durable = { userId: alice, roomId, text: 'kept', durable: true };
    await manager.sendMessage(durable);
    await inbox.message('kept');
    expect(inbox.bodies(roomId)).toEqual(['once', 'kept']);
  });

  it('make pages as in other rooms: memory and history, replies, edits, redactions, reactions', async () => {
    const { manager, alice, bob, inbox, roomId } = await chat({ timelineLimit: 5 });
    const say = (content: Record<string, unknown>, type = 'm.room.message') =>
      manager.sendMessage({ userId: alice, roomId, content, type });
    const texts = Array.from({ length: 12 }, (_, i) => `message ${i}`);
    const ids: string[] = [];
    for (const text of texts) ids.push((await say({ msgtype: 'm.text', body: text })).eventId);
    const replyTo = { 'm.in_reply_to': { event_id: ids[10] } };
    const reply = await say({ msgtype: 'm.text', body: 'a reply', 'm.relates_to': replyTo });
    const edit = { rel_type: 'm.replace', event_id: ids[11] };
    const newContent = { msgtype: 'm.text', body: 'edited' };
    await say({ ...newContent, body: '* edited', 'm.new_content': newContent, 'm.relates_to': edit });
    await say({ 'm.relates_to': { rel_type: 'm.annotation', event_id: ids[11], key: '+1' } }, 'm.reaction');
    await manager.withClient(alice, (client) => client.redactEvent(roomId, ids[9] as string));
    await manager.sendTyping({ userId: alice, roomId, typing: true });
    await manager.sendReadReceipt({ userId: alice, roomId, eventId: reply.eventId });
    await inbox.first((event) => event.type === 'receipt' && event.sender === alice && event.eventId === reply.eventId);
    expect(inbox.events.find((event) => event.type === 'reaction')).toMatchObject({ encrypted: false, key: '+1' });

    const read = async (from?: string): Promise<unknown[]> => {
      const page = await manager.getRoomMessages({ roomId, userId: bob, limit: 4, ...(from && { from }) });
      const messages = page.messages.map(({ content, redacted, edited, decryption }) =>
        redacted
          ? 'redacted'
          : `${String(content.body)}${edited ? ' (edited)' : ''}${decryption?.state === 'failed' ? ' ?' : ''}`,
      );
      return page.end === undefined ? messages : [...messages, ...(await read(page.end))];
    };
    const before = texts.slice(0, 9).toReversed();
    expect(await read()).toEqual(['a reply', 'edited (edited)', 'message 10', 'redacted', ...before]);
    const [first] = (await manager.getRoomMessages({ roomId, userId: bob, limit: 1 })).messages;
    expect(first).toMatchObject({ eventType: 'm.room.message', encrypted: true, content: { 'm.relates_to': replyTo } });
    await manager.stopClient(bob); // pages alone wake nobody but for what is encrypted
    expect(await read()).toEqual(['a reply', 'edited (edited)', 'message 10', 'redacted', ...before]);
  });

  it('that were sent while a user slept come decrypted when they wake, by the same device and keys', async () => {
    const { deployment, manager, alice, bob, inbox, roomId } = await chat();
    const identity = (): Promise<unknown> =>
      manager.withClient(bob, (client) => client.getCrypto()?.getOwnDeviceKeys());
    const [before, device] = [await identity(), manager.clientInfo(bob)?.deviceId];
    await manager.sendMessage({ userId: alice, roomId, text: 'awake' });
    await inbox.message('awake');
    await manager.stopClient(bob);
    await manager.sendMessage({ userId: alice, roomId, text: 'asleep' });
    await manager.withClient(alice, (client) => client.getCrypto()?.forceDiscardSession(roomId));
    await manager.sendMessage({ userId: alice, roomId, text: 'asleep, in a new session' });
    await manager.startClient({ userId: bob });
    await inbox.message('asleep, in a new session');
    expect(inbox.bodies(roomId)).toEqual(['awake', 'asleep', 'asleep, in a new session']);
    expect(inbox.events.at(-1)).toMatchObject({ provenance: 'gap-fill', decryption: { state: 'decrypted' } });
    expect([await identity(), manager.clientInfo(bob)?.deviceId]).toEqual([before, device]);

    await manager.stopClient(bob);
    await manager.sendMessage({ userId: alice, roomId, text: 'before the restart' });
    await manager.shutdown();
    const next = deployment.start();
    const again = new Recorder();
    await next.startClient({ userId: bob, callbacks: [again.callback] });
    await again.message('before the restart');
    expect(again.bodies(roomId)).toEqual(['before the restart']);
    expect(next.clientInfo(bob)?.deviceId).toBe(device);
    await next.sendMessage({ userId: bob, roomId, text: 'still the same keys' });
    const reader = new Recorder();
    await next.startClient({ userId: alice, callbacks: [reader.callback] });
    await reader.message('still the same keys');
    expect(next.stats().decryptions).toMatchObject({ 'missing-key': 0, unreadable: 0, withheld: 0 });
  });

  it('are not for who left the room while the sender was out of it, and for who came', async () => {
    const { deployment, manager, alice, bob, inbox, roomId } = await chat({ timelineLimit: 5 });
    const [carol, dave] = [await deployment.user(manager), await deployment.user(manager)];
    const reader = new Recorder();
    await manager.startClient({ userId: dave, callbacks: [reader.callback] });
    const act = (userId: string, what: string, of?: string) =>
      manager.withClient(userId, (client) => {
        const path = `/rooms/${encodeURIComponent(roomId)}/${what}`;
        return client.http.authedRequest('POST' as never, path, undefined, of === undefined ? {} : { user_id: of });
      });
    const told = (membership: string) =>
      inbox.first(
        (event) => event.type === 'membership' && event.stateKey === alice && event.membership === membership,
      );
    const sessionOf = async (text: string): Promise<unknown> => {
      const { eventId } = await manager.sendMessage({ userId: alice, roomId, text });
      const event = await manager.withClient(alice, (client) => client.fetchRoomEvent(roomId, eventId));
      return event.content?.session_id;
    };
    await act(bob, 'invite', carol);
    await act(carol, 'join');
    await manager.sendMessage({ userId: carol, roomId, text: 'hello' });
    await inbox.message('hello');
    const before = await sessionOf('for Carol, too');
    await act(alice, 'leave');
    await told('leave');
    await act(carol, 'leave');
    await act(bob, 'invite', dave);
    await act(dave, 'join');
    for (let n = 0; n < 8; n++) await manager.sendMessage({ userId: bob, roomId, type: 'm.reaction', content: { n } });
    await act(bob, 'invite', alice);
    await act(alice, 'join');
    await manager.withClient(alice, async (client) => {
      while (client.getRoom(roomId)?.getMyMembership() !== 'join') {
        await new Promise((resolve) => client.once('sync' as never, resolve as never));
      }
    });
    expect(await sessionOf('not for Carol')).not.toBe(before);
    await reader.message('not for Carol');
  });

  it('are refused for a user without encryption, and sent by one with it who has no client', async () => {
    const users: { none?: string } = {};
    const deployment = new Deployment(await target());
    const encryption = { path: deployment.cryptoPath, secret, users: (userId: string) => userId !== users.none };
    const manager = deployment.start({ encryption });
    const [alice, bob, carol] = await Promise.all([1, 2, 3].map(() => deployment.user(manager)));
    if (!alice || !bob || !carol) throw new Error('no users');
    users.none = carol;
    const roomId = await encryptedRoom(manager, [alice, bob, carol]);
    const error = await rejection(manager.sendMessage({ userId: carol, roomId, text: 'in the clear' }));
    expect(error.code).toBe('ENCRYPTION_UNAVAILABLE');
    const inbox = new Recorder();
    manager.addCallback(alice, inbox.callback);
    await manager.stopClient(bob);
    await manager.sendMessage({ userId: bob, roomId, text: 'woken to send' });
    await inbox.message('woken to send');
    expect(inbox.bodies(roomId)).toEqual(['woken to send']);
  });
}
