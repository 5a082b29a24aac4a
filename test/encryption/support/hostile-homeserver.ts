import { randomUUID } from 'node:crypto';
import type { expect as vitestExpect, it as vitestIt } from 'vitest';
import type { ClientEvent, Decryption, EncryptionOptions, MatrixClientManager } from '../../../src/index.js';
import { Recorder } from '../../support/recorder.js';
import { cryptoBackend } from '../../../src/sdk/crypto/crypto-backend.js';
import { malformedToDevice } from './malformed-to-device.js';
import { keysOfNewDevice } from './olm-machine.js';
import { Deployment, encryptedRoom } from './encrypted-chats.js';
import type { LyingHomeserver } from './event-lies.js';

type Policy = Pick<EncryptionOptions, 'trust' | 'receive' | 'decryptionTimeoutMs'>;

/** For messages whose key never comes. */
const hasty: Policy = { trust: 'all', decryptionTimeoutMs: 1_000 };

export const policies: readonly Policy[] = [
  { trust: 'all' },
  { trust: 'all', receive: 'refuse' },
  { trust: 'cross-signed', receive: 'all' },
  { trust: 'cross-signed' },
  { trust: 'cross-signed', receive: 'refuse' },
  { trust: 'verified' },
  { trust: 'verified', receive: 'refuse' },
];

const sealed = (failed: string) => ({
  eventType: 'm.room.encrypted',
  encrypted: true,
  decryption: { state: 'failed', reason: failed },
});

/** The options of an application that keeps recovery keys, if the policy needs cross-signing. */
export function optionsFor(deployment: Deployment, policy: Policy): { encryption: EncryptionOptions } {
  const file = { path: deployment.cryptoPath, secret: new Uint8Array(32).fill(7) };
  if (policy.trust === 'all') return { encryption: { ...file, ...policy } };
  const keys = recoveryKeys(deployment);
  return {
    encryption: {
      ...file,
      ...policy,
      onRecoveryKey: (userId, key) => void keys.set(userId, key),
      recoveryKey: (userId) => keys.get(userId),
    },
  };
}

const keysOf = new WeakMap<Deployment, Map<string, string>>();
function recoveryKeys(deployment: Deployment): Map<string, string> {
  const keys = keysOf.get(deployment) ?? new Map<string, string>();
  keysOf.set(deployment, keys);
  return keys;
}

/** Alice, Bob and Mallory in an encrypted room. Bob listens. */
export async function chatOfThree(lying: LyingHomeserver, policy: Policy) {
  const deployment = new Deployment(lying.target);
  const options = optionsFor(deployment, policy);
  const manager = deployment.start(options);
  const [alice, bob, mallory] = [
    await deployment.user(manager),
    await deployment.user(manager),
    await deployment.user(manager),
  ];
  const inbox = new Recorder();
  await manager.startClient({ userId: bob, callbacks: [inbox.callback] });
  for (const userId of [alice, mallory]) await manager.startClient({ userId });
  const roomId = await encryptedRoom(manager, [alice, bob, mallory]);
  if (policy.trust === 'verified') {
    await manager.verifyUser(alice, bob);
    await manager.verifyUser(bob, alice);
  }
  return { deployment, options, manager, alice, bob, mallory, inbox, roomId };
}

export function withId(inbox: Recorder, eventId: string): Promise<ClientEvent> {
  return inbox.first((event) => 'eventId' in event && event.eventId === eventId && event.type === 'message');
}

/** The encrypted content of an event, as the homeserver has it. */
export async function ciphertextOf(manager: MatrixClientManager, userId: string, roomId: string, eventId: string) {
  return manager.withClient(userId, async (client) => {
    const event = await client.fetchRoomEvent(roomId, eventId);
    return event.content as Record<string, unknown>;
  });
}

/** Sends a content as it is, which the SDK would encrypt. @returns the event's id */
export async function post(
  manager: MatrixClientManager,
  userId: string,
  roomId: string,
  content: object,
): Promise<string> {
  return manager.withClient(userId, async (client) => {
    const path = `/rooms/${encodeURIComponent(roomId)}/send/m.room.encrypted/${randomUUID()}`;
    const { event_id: eventId } = await client.http.authedRequest<{ event_id: string }>(
      'PUT' as never,
      path,
      undefined,
      content,
    );
    return eventId;
  });
}

async function decryptionsOnPage(
  manager: MatrixClientManager,
  userId: string,
  roomId: string,
): Promise<Map<string, Decryption | undefined>> {
  const { messages } = await manager.getRoomMessages({ roomId, userId, limit: 20 });
  return new Map(messages.map(({ eventId, decryption }) => [eventId, decryption]));
}

/** What a homeserver that lies about encrypted events cannot do to its users. */
export function hostileHomeserver(
  it: typeof vitestIt,
  expect: typeof vitestExpect,
  open: () => Promise<LyingHomeserver>,
): void {
  it.each(policies)('gives nobody what another user has sent ($trust, $receive)', async (policy) => {
    const lying = await open();
    const { manager, alice, bob, mallory, inbox, roomId } = await chatOfThree(lying, policy);
    await manager.sendMessage({ userId: alice, roomId, text: 'before' });
    await inbox.message('before');
    const endLie = lying.rewriteEvents((event) =>
      event.sender === alice && event.type === 'm.room.encrypted' && event.event_id !== undefined
        ? { ...event, sender: mallory }
        : event,
    );
    const { eventId } = await manager.sendMessage({ userId: alice, roomId, text: 'I, Mallory, agree' });
    expect(await withId(inbox, eventId)).toMatchObject({ sender: mallory, ...sealed('sender-mismatch') });
    const onPage = await decryptionsOnPage(manager, bob, roomId);
    expect(onPage.get(eventId)).toEqual({ state: 'failed', reason: 'sender-mismatch' });
    expect(JSON.stringify([...inbox.events, ...onPage])).not.toContain('I, Mallory');
    endLie();
    await manager.sendMessage({ userId: alice, roomId, text: 'after' });
    await inbox.message('after');
  });

  it.each(policies)('delivers a message once ($trust, $receive)', async (policy) => {
    const lying = await open();
    const { deployment, options, manager, alice, bob, mallory, inbox, roomId } = await chatOfThree(lying, policy);
    const { eventId } = await manager.sendMessage({ userId: alice, roomId, text: 'pay 100' });
    await inbox.message('pay 100');
    const content = await ciphertextOf(manager, bob, roomId, eventId);
    const byMember = await post(manager, mallory, roomId, content);
    expect(await withId(inbox, byMember)).toMatchObject({ sender: mallory, ...sealed('sender-mismatch') });
    // The homeserver: what Mallory has posted comes from Alice.
    lying.rewriteEvents((event) =>
      event.sender === mallory && event.type === 'm.room.encrypted' ? { ...event, sender: alice } : event,
    );
    const byServer = await post(manager, mallory, roomId, content);
    expect(await withId(inbox, byServer)).toMatchObject({ sender: alice, ...sealed('replayed') });
    await manager.shutdown();

    const restarted = deployment.start(options);
    const later = new Recorder();
    await restarted.startClient({ userId: bob, callbacks: [later.callback] });
    const again = await post(restarted, mallory, roomId, content);
    expect(await withId(later, again)).toMatchObject({ sender: alice, ...sealed('replayed') });
    for (let reading = 0; reading < 2; reading++) {
      const onPage = await decryptionsOnPage(restarted, bob, roomId);
      expect(onPage.get(eventId)).toMatchObject({ state: 'decrypted' });
      for (const copy of [byMember, byServer, again]) {
        expect(onPage.get(copy)).toEqual({ state: 'failed', reason: 'replayed' });
      }
    }
    expect([...inbox.bodies(), ...later.bodies()].filter((body) => body === 'pay 100')).toHaveLength(1);
  });

  it('gives no key that another user has sent than the homeserver says', async () => {
    const lying = await open();
    const { manager, alice, mallory, inbox, roomId } = await chatOfThree(lying, hasty);
    lying.rewriteEvents((event) =>
      event.sender === alice && event.type === 'm.room.encrypted' && event.event_id === undefined
        ? { ...event, sender: mallory }
        : event,
    );
    const { eventId } = await manager.sendMessage({ userId: alice, roomId, text: 'for Bob' });
    expect(await withId(inbox, eventId)).toMatchObject(sealed('missing-key'));
  });

  it('puts no message into another room', async () => {
    const { manager, alice, bob, mallory, inbox, roomId } = await chatOfThree(await open(), hasty);
    const otherRoom = await encryptedRoom(manager, [alice, bob, mallory]);
    const { eventId } = await manager.sendMessage({ userId: alice, roomId, text: 'yes' });
    await inbox.message('yes');
    const content = await ciphertextOf(manager, bob, roomId, eventId);
    const elsewhere = await post(manager, alice, otherRoom, content);
    expect(await withId(inbox, elsewhere)).toMatchObject({ roomId: otherRoom, ...sealed('missing-key') });
    expect(inbox.bodies(otherRoom)).not.toContain('yes');
  });

  it('makes no ciphertext a message of another type', async () => {
    const lying = await open();
    const { manager, alice, inbox, roomId } = await chatOfThree(lying, hasty);
    lying.rewriteEvents((event) =>
      event.type === 'm.room.encrypted' && event.event_id !== undefined ? { ...event, type: 'm.room.message' } : event,
    );
    const { eventId } = await manager.sendMessage({ userId: alice, roomId, text: 'never read' });
    const event = await withId(inbox, eventId);
    expect(event).toMatchObject({ eventType: 'm.room.message', encrypted: false });
    expect(event).not.toHaveProperty('decryption');
    expect(JSON.stringify(event)).not.toContain('never read');
  });

  it('edits nothing, with a relation in the clear that it has changed', async () => {
    const lying = await open();
    const { manager, alice, bob, mallory, inbox, roomId } = await chatOfThree(lying, { trust: 'all' });
    const say = async (userId: string, content: Record<string, unknown>): Promise<string> => {
      const { eventId } = await manager.sendMessage({ userId, roomId, content: { msgtype: 'm.text', ...content } });
      await withId(inbox, eventId);
      return eventId;
    };
    const edit = (target: string, body: string) => ({
      body: `* ${body}`,
      'm.new_content': { msgtype: 'm.text', body },
      'm.relates_to': { rel_type: 'm.replace', event_id: target },
    });
    const first = await say(alice, { body: 'first' });
    const second = await say(alice, { body: 'second' });
    const ofBob = await say(bob, { body: 'of Bob' });
    const hidden = await say(alice, { body: 'hidden' });
    await say(mallory, edit(first, 'an edit by Mallory'));
    const targets = new Map([
      ['to second', second],
      ['to Bob', ofBob],
      ['to nothing', undefined],
    ]);
    const turned = new Map<string, string | undefined>();
    lying.rewriteEvents((event) => {
      if (event.event_id === undefined || !turned.has(event.event_id)) return event;
      const target = turned.get(event.event_id);
      const { 'm.relates_to': _relation, ...content } = event.content;
      const relation = { rel_type: 'm.replace', event_id: target };
      return { ...event, content: { ...content, ...(target !== undefined && { 'm.relates_to': relation }) } };
    });
    for (const [text, target] of targets) {
      const endLie = lying.rewriteEvents((event) => {
        if (event.sender !== alice || event.event_id === undefined || turned.has(event.event_id)) return event;
        if (event.type !== 'm.room.encrypted' || !('m.relates_to' in event.content)) return event;
        turned.set(event.event_id, target);
        const { 'm.relates_to': _relation, ...content } = event.content;
        const relation = { rel_type: 'm.replace', event_id: target };
        return { ...event, content: { ...content, ...(target !== undefined && { 'm.relates_to': relation }) } };
      });
      const editOf = text === 'to nothing' ? hidden : first;
      const id = await say(alice, edit(editOf, `edited, ${text}`));
      expect(turned.has(id)).toBe(true);
      expect(await withId(inbox, id)).toMatchObject({ content: { 'm.relates_to': { event_id: editOf } } });
      endLie();
    }
    const { messages } = await manager.getRoomMessages({ roomId, userId: bob, limit: 30 });
    const body = (id: string): unknown => messages.find(({ eventId }) => eventId === id)?.content['body'];
    expect([first, second, ofBob, hidden].map(body)).toEqual([
      'edited, to Bob',
      'second',
      'of Bob',
      'edited, to nothing',
    ]);
  });

  it.each(policies)('gives no malformed message to a device any effect ($trust, $receive)', async (policy) => {
    const lying = await open();
    const { manager, alice, bob, inbox, roomId } = await chatOfThree(lying, policy);
    const { eventId: first } = await manager.sendMessage({ userId: alice, roomId, text: 'before' });
    await withId(inbox, first);
    const [ofAlice, ofBob] = [await ownKeys(manager, alice), await ownKeys(manager, bob)];
    const { deviceId = '' } = manager.clientInfo(bob) ?? {};
    const pretence = { sender: alice, senderKey: ofAlice, curve25519: ofBob, userId: bob, deviceId, roomId };
    const events = malformedToDevice(pretence);
    expect(events.length).toBeGreaterThanOrEqual(60);
    const accessToken = await manager.withClient(bob, (client) => client.getAccessToken() ?? '');
    lying.injectToDevice({ userId: bob, deviceId, events }, accessToken);
    for (const [sender, text] of [
      [alice, 'with new keys'],
      [bob, 'an answer'],
      [alice, 'after'],
    ] as const) {
      await manager.withClient(sender, (client) => client.getCrypto()?.forceDiscardSession(roomId));
      const { eventId } = await manager.sendMessage({ userId: sender, roomId, text });
      expect(await withId(inbox, eventId)).toMatchObject({ content: { body: text } });
    }
    expect(manager.clientInfo(bob)).toMatchObject({ state: 'live', deviceId });
    expect('polluted' in {}).toBe(false);
  });

  it.each(policies)(
    'gets no keys for an injected device, unless all are trusted ($trust, $receive)',
    async (policy) => {
      const lying = await open();
      const { manager, alice, bob, inbox, roomId } = await chatOfThree(lying, policy);
      for (const [deviceId, change] of [
        ['UNSIGNED', (keys: DeviceKeys): DeviceKeys => keys],
        ['WRONG', (keys: DeviceKeys): DeviceKeys => ({ ...keys, algorithms: [...keys.algorithms, 'changed'] })],
      ] as const) {
        const upload = JSON.parse(await keysOfNewDevice({ userId: bob, deviceId })) as Upload;
        const [oneTimeKey] = Object.entries(upload.one_time_keys);
        lying.injectDevice({
          userId: bob,
          deviceId,
          deviceKeys: change(upload.device_keys),
          ...(oneTimeKey && { oneTimeKeys: Object.fromEntries([oneTimeKey]) }),
        });
      }
      await fetchDevices(manager, alice);
      await manager.withClient(alice, (client) => client.getCrypto()?.forceDiscardSession(roomId));
      const { eventId } = await manager.sendMessage({ userId: alice, roomId, text: 'for Bob' });
      expect(await withId(inbox, eventId)).toMatchObject({ content: { body: 'for Bob' } });
      const recipients = lying.toDevice.flatMap((messages) => Object.keys(messages[bob] ?? {}));
      expect(recipients).not.toContain('WRONG');
      // Trust `all` means all devices: nothing tells an injected one from a new one that its owner has not signed yet.
      expect(recipients.includes('UNSIGNED')).toBe(policy.trust === 'all');
    },
  );

  it.each([
    ['junk', { junk: {} }],
    ['an unknown algorithm', { 'junk:A': 'x' }],
    ['a text', 'junk'],
    ['a list', [1]],
  ])("does not keep messages from others by one user's one-time keys: %s", async (_what, oneTimeKeys) => {
    const lying = await open();
    const { deployment, manager, alice, mallory, roomId } = await chatOfThree(lying, { trust: 'all' });
    const deviceId = 'NEW';
    const upload = JSON.parse(await keysOfNewDevice({ userId: mallory, deviceId })) as Upload;
    const keys = oneTimeKeys as Record<string, object>;
    lying.injectDevice({ userId: mallory, deviceId, deviceKeys: upload.device_keys, oneTimeKeys: keys });
    await fetchDevices(manager, alice);
    const carol = await deployment.user(manager);
    const inbox = new Recorder();
    await manager.withClient(alice, (client) => client.invite(roomId, carol));
    await manager.startClient({ userId: carol, callbacks: [inbox.callback] });
    await manager.withClient(carol, (client) => client.joinRoom(roomId));
    const membership = () =>
      manager.withClient(alice, (client) => client.getRoom(roomId)?.getMember(carol)?.membership);
    await expect.poll(membership, { timeout: 10_000 }).toBe('join'); // else she gets no key
    await manager.sendMessage({ userId: alice, roomId, text: 'for all' });
    expect(await inbox.message('for all')).toMatchObject({ decryption: { state: 'decrypted' } });
  });

  it.each(policies)('replaces no keys of a device that is known ($trust, $receive)', async (policy) => {
    const lying = await open();
    const { manager, alice, bob, inbox, roomId } = await chatOfThree(lying, policy);
    const { eventId: first } = await manager.sendMessage({ userId: alice, roomId, text: 'before' });
    await withId(inbox, first);
    const { deviceId = '' } = manager.clientInfo(bob) ?? {};
    const upload = JSON.parse(await keysOfNewDevice({ userId: bob, deviceId })) as Upload;
    lying.injectDevice({ userId: bob, deviceId, deviceKeys: upload.device_keys, oneTimeKeys: upload.one_time_keys });
    await fetchDevices(manager, alice);
    await manager.withClient(alice, (client) => client.getCrypto()?.forceDiscardSession(roomId));
    const before = lying.toDevice.length;
    const { eventId } = await manager.sendMessage({ userId: alice, roomId, text: 'for the real Bob' });
    expect(await withId(inbox, eventId)).toMatchObject({ content: { body: 'for the real Bob' } });
    const strange = upload.device_keys.keys[`curve25519:${deviceId}`] ?? '';
    expect(strange).not.toBe('');
    expect(JSON.stringify(lying.toDevice.slice(before))).not.toContain(strange);
  });
}

interface DeviceKeys {
  readonly algorithms: readonly string[];
  readonly keys: Readonly<Record<string, string>>;
}

interface Upload {
  readonly device_keys: DeviceKeys;
  readonly one_time_keys: Readonly<Record<string, object>>;
}

/** The Curve25519 key of the user's device. */
async function ownKeys(manager: MatrixClientManager, userId: string): Promise<string> {
  const keys = await manager.withClient(userId, (client) => client.getCrypto()?.getOwnDeviceKeys());
  return keys?.curve25519 ?? '';
}

/** Fetches all device lists again, as after the homeserver has said that they have changed. */
async function fetchDevices(manager: MatrixClientManager, userId: string): Promise<void> {
  await manager.withClient(userId, async (client) => {
    const crypto = cryptoBackend(client);
    await crypto.markAllTrackedUsersAsDirty();
    await crypto.outgoingRequestsManager.doProcessOutgoingRequests();
  });
}
