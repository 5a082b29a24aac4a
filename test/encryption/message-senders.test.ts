import { describe, expect, it } from 'vitest';
import { FakeHomeserver } from '../../src/testing/fake-homeserver/fake-homeserver.js';
import { Recorder } from '../support/recorder.js';
import { Deployment, encryptedRoom } from './support/encrypted-chats.js';
import { optionsFor } from './support/hostile-homeserver.js';
import { messageSenders } from './support/message-senders.js';

describe('the sender of a decrypted message, on the fake homeserver', () => {
  messageSenders(it, expect, async () => new FakeHomeserver());
});

/** A homeserver that keeps its answers to questions for a user's keys back, once told to, until they are let go. */
function withSlowKeys() {
  const fake = new FakeHomeserver();
  const slow: { userId?: string; answer: PromiseWithResolvers<void> } = { answer: Promise.withResolvers() };
  const fetch: typeof globalThis.fetch = async (input, init) => {
    const request = new Request(input, init);
    const isSlow = slow.userId !== undefined && request.url.endsWith('/keys/query');
    if (isSlow && (await request.clone().text()).includes(slow.userId ?? '')) await slow.answer.promise;
    return fake.fetch(request);
  };
  const { baseUrl, serverName, admin } = fake;
  return { target: { baseUrl, serverName, admin, fetch }, slow };
}

describe('the first messages of a stranger whose device is signed', () => {
  it.each(['refuse', 'warn'] as const)('are judged after their keys were asked for: receive %s', async (receive) => {
    const { target, slow } = withSlowKeys();
    const deployment = new Deployment(target);
    const manager = deployment.start(optionsFor(deployment, { trust: 'cross-signed', receive }));
    const [alice, bob, carol] = [
      await deployment.user(manager),
      await deployment.user(manager),
      await deployment.user(manager),
    ];
    const inbox = new Recorder();
    await manager.startClient({ userId: bob, callbacks: [inbox.callback] });
    const roomId = await encryptedRoom(manager, [carol, bob]);
    const otherRoom = await encryptedRoom(manager, [carol, bob]);
    await manager.sendMessage({ userId: carol, roomId: otherRoom, text: 'before' });
    await inbox.message('before');
    await manager.stopClient(bob);
    await manager.withClient(carol, (client) => client.invite(roomId, alice));
    await manager.withClient(alice, (client) => client.joinRoom(roomId));
    const { eventId } = await manager.sendMessage({ userId: alice, roomId, text: 'hello' });
    await manager.sendMessage({ userId: carol, roomId: otherRoom, text: 'of somebody known' });
    slow.userId = alice;
    const started = manager.startClient({ userId: bob });
    await inbox.message('of somebody known'); // in the same sync, without the answer
    slow.answer.resolve();
    await started;
    const { deviceId, crossSigned } = await manager.encryptionStatus(alice);
    const sender = { authenticated: true, deviceId, signedByOwner: true, ownerVerified: false, identityChanged: false };
    const event = await inbox.first((one) => 'eventId' in one && one.eventId === eventId);
    expect(crossSigned).toBe(true);
    expect(event).toMatchObject({ content: { body: 'hello' } });
    expect('decryption' in event && event.decryption).toEqual({ state: 'decrypted', sender });
    const { messages } = await manager.getRoomMessages({ roomId, userId: bob });
    expect(messages.find((one) => one.eventId === eventId)?.decryption).toEqual({ state: 'decrypted', sender });
  });
});
