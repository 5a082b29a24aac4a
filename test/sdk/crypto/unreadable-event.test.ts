import { afterEach, expect, it, vi } from 'vitest';
import { decryption } from '../../../src/core/decryption.js';
import type { RawEvent } from '../../../src/core/raw-event.js';
import { EventDecryptor } from '../../../src/sdk/crypto/event-decryptor.js';
import { MemoryLogger } from '../../../src/testing/index.js';
import { FakeHomeserver } from '../../../src/testing/fake-homeserver/fake-homeserver.js';
import { Recorder } from '../../support/recorder.js';
import { Deployment, encryptedRoom } from '../../encryption/support/encrypted-chats.js';

afterEach(() => {
  vi.restoreAllMocks();
});

function nested(levels: number): object {
  let deep: object = {};
  for (let level = 0; level < levels; level++) deep = { deep };
  return deep;
}

const clear = (raw: RawEvent): RawEvent => ({
  ...raw,
  type: 'm.room.message',
  content: { msgtype: 'm.text', body: 'deep', x: nested(20_000) },
  [decryption]: {
    state: 'decrypted',
    sender: {
      authenticated: false,
      deviceId: undefined,
      signedByOwner: false,
      ownerVerified: false,
      identityChanged: false,
    },
  },
});

it.each([
  ['an unexpected error while it is decrypted', () => Promise.reject(new RangeError('unexpected')), 'unreadable'],
  ['content nested 20,000 levels in it', (_: string, raw: RawEvent) => Promise.resolve(clear(raw)), undefined],
])('an encrypted event costs itself with %s, and its room goes on', async (_, decrypt, reason) => {
  const deployment = new Deployment(new FakeHomeserver());
  const manager = deployment.start({ encryption: { path: deployment.cryptoPath, secret: new Uint8Array(32).fill(7) } });
  const [alice, bob] = [await deployment.user(manager), await deployment.user(manager)];
  const inbox = new Recorder();
  await manager.startClient({ userId: alice });
  await manager.startClient({ userId: bob, callbacks: [inbox.callback] });
  const roomId = await encryptedRoom(manager, [alice, bob]);
  const original = Reflect.get(EventDecryptor.prototype, 'decrypt');
  const seen = vi.spyOn(EventDecryptor.prototype, 'decrypt').mockImplementation(decrypt);
  const { eventId } = await manager.sendMessage({ userId: alice, roomId, text: 'first' });
  await expect.poll(() => seen.mock.calls.some(([, raw]) => raw.event_id === eventId)).toBe(true);
  const first = await inbox.first((event) => 'eventId' in event && event.eventId === eventId);
  expect(first).toMatchObject({ decryption: reason ? { state: 'failed', reason } : { state: 'decrypted' } });
  seen.mockImplementation(original);
  await manager.sendMessage({ userId: alice, roomId, text: 'second' });
  await inbox.message('second');
});

it('an encrypted event costs itself on a page with an unexpected error, and the page its other events', async () => {
  const deployment = new Deployment(new FakeHomeserver());
  const logger = new MemoryLogger();
  const encryption = { path: deployment.cryptoPath, secret: new Uint8Array(32).fill(7) };
  const manager = deployment.start({ encryption, logger });
  const [alice, bob] = [await deployment.user(manager), await deployment.user(manager)];
  const inbox = new Recorder();
  await manager.startClient({ userId: alice });
  await manager.startClient({ userId: bob, callbacks: [inbox.callback] });
  const roomId = await encryptedRoom(manager, [alice, bob]);
  const { eventId: broken } = await manager.sendMessage({ userId: alice, roomId, text: 'broken' });
  await manager.sendMessage({ userId: alice, roomId, text: 'whole' });
  await inbox.message('whole');
  const original = Reflect.get(EventDecryptor.prototype, 'decrypt');
  vi.spyOn(EventDecryptor.prototype, 'decrypt').mockImplementation(function decrypt(this: EventDecryptor, ...args) {
    return args[1].event_id === broken ? Promise.reject(new RangeError('unexpected')) : original.apply(this, args);
  });
  for (const userId of [alice, bob, bob]) {
    const { messages } = await manager.getRoomMessages({ roomId, userId, limit: 2 });
    expect(messages).toMatchObject([
      { content: { body: 'whole' }, decryption: { state: 'decrypted' } },
      { eventId: broken, eventType: 'm.room.encrypted', decryption: { state: 'failed', reason: 'unreadable' } },
    ]);
  }
  const logged = logger.entries.filter(({ message }) => message === 'decrypting an event failed');
  expect(logged).toMatchObject([alice, bob].map((userId) => ({ context: { userId, roomId, eventId: broken } })));
});
