import type { expect as vitestExpect, it as vitestIt } from 'vitest';
import type { MatrixClientManager } from '../../../src/index.js';
import type { HomeserverTarget } from '../../../src/testing/contracts/homeserver-contract.js';
import { Recorder } from '../../support/recorder.js';
import { Deployment, encryptedRoom } from './encrypted-chats.js';
import { readOlmSessions, replaceOlmSessions } from './olm-sessions.js';

const secret = new Uint8Array(32).fill(7);

/** Two users, each with a manager of their own, in an encrypted room. */
export async function twoManagers(target: HomeserverTarget) {
  const [alices, bobs] = [new Deployment(target), new Deployment(target)];
  const manager = alices.start();
  const open = (): MatrixClientManager =>
    bobs.start({ encryption: { path: bobs.cryptoPath, secret, decryptionTimeoutMs: 500 } });
  let bobManager = open();
  const [alice, bob] = [await alices.user(manager), await bobs.user(bobManager)];
  const [inbox, aliceInbox] = [new Recorder(), new Recorder()];
  await manager.startClient({ userId: alice, callbacks: [aliceInbox.callback] });
  const start = (): Promise<unknown> => bobManager.startClient({ userId: bob, callbacks: [inbox.callback] });
  await start();
  const roomId = await encryptedRoom(manager, [alice, bob], bobManager);
  const deviceId = bobManager.clientInfo(bob)?.deviceId ?? '';
  const device = { userId: bob, deviceId };
  return {
    alice,
    bob,
    roomId,
    inbox,
    aliceInbox,
    manager,
    device,
    bobs,
    /** The Megolm session of an event. */
    sessionOf: async (eventId: string): Promise<unknown> => {
      const { content } = await manager.withClient(alice, (client) => client.fetchRoomEvent(roomId, eventId));
      return content?.['session_id'];
    },
    /** Alice says it with keys that nobody has got yet. */
    sayWithNewKeys: async (text: string): Promise<string> => {
      await rotate(manager, alice, roomId);
      return (await manager.sendMessage({ userId: alice, roomId, text })).eventId;
    },
    say: async (text: string): Promise<string> => (await manager.sendMessage({ userId: alice, roomId, text })).eventId,
    answer: async (text: string): Promise<string> =>
      (await bobManager.sendMessage({ userId: bob, roomId, text })).eventId,
    answerWithNewKeys: async (text: string): Promise<string> => {
      await rotate(bobManager, bob, roomId);
      return (await bobManager.sendMessage({ userId: bob, roomId, text })).eventId;
    },
    stop: () => bobManager.shutdown(),
    start: async (): Promise<void> => {
      bobManager = open();
      await start();
    },
    /** Stops Bob's manager, changes its key file, and starts another one on it. */
    restartAfter: async (change: (path: string) => Promise<unknown>): Promise<void> => {
      await bobManager.shutdown();
      await change(bobs.cryptoPath);
      bobManager = open();
      await start();
    },
  };
}

function rotate(manager: MatrixClientManager, userId: string, roomId: string): Promise<unknown> {
  return manager.withClient(userId, (client) => client.getCrypto()?.forceDiscardSession(roomId));
}

/** What becomes of two devices of which one has lost its Olm sessions: on a fake homeserver, and a real one. */
export function olmRecovery(
  it: typeof vitestIt,
  expect: typeof vitestExpect,
  target: () => Promise<HomeserverTarget>,
): void {
  const read = { decryption: { state: 'decrypted' } };
  const unread = { decryption: { state: 'failed', reason: 'missing-key' } };

  it('reads again after it has lost its Olm sessions, though it says nothing', async () => {
    const chat = await twoManagers(await target());
    await chat.say('before');
    await chat.inbox.message('before');
    await chat.answer('before, from Bob'); // makes the session one that needs no pre-key
    await chat.aliceInbox.message('before, from Bob');
    await chat.sayWithNewKeys('still before');
    await chat.inbox.message('still before');
    await chat.restartAfter((path) => replaceOlmSessions(path, chat.device));
    const lost = await chat.sayWithNewKeys('lost');
    await chat.inbox.first((event) => 'eventId' in event && event.eventId === lost);
    const told = await untilRead(chat.say, chat.inbox);
    expect(told).toMatchObject(read);
    // Alice has given the device the key of her session again.
    const sessions = await Promise.all([lost, told.eventId].map((eventId) => chat.sessionOf(eventId)));
    expect(sessions[0]).toBe(sessions[1]);
    await chat.answerWithNewKeys('after');
    await chat.aliceInbox.message('after');
    expect(chat.inbox.events.find((event) => 'eventId' in event && event.eventId === lost)).toMatchObject(unread);
  });

  it('reads again after its Olm sessions went back to an earlier state', async () => {
    const chat = await twoManagers(await target());
    await chat.say('before');
    await chat.inbox.message('before');
    let earlier: Awaited<ReturnType<typeof readOlmSessions>> = [];
    await chat.restartAfter(async (path) => (earlier = await readOlmSessions(path, chat.device)));
    for (const n of [1, 2, 3]) {
      await chat.answerWithNewKeys(`from Bob ${n}`);
      await chat.aliceInbox.message(`from Bob ${n}`);
      await chat.sayWithNewKeys(`from Alice ${n}`);
      await chat.inbox.message(`from Alice ${n}`);
    }
    await chat.restartAfter((path) => replaceOlmSessions(path, chat.device, earlier));
    await chat.sayWithNewKeys('lost');
    expect(await untilRead(chat.say, chat.inbox)).toMatchObject(read);
  });
}

/** Says things until one is read. */
async function untilRead(say: (text: string) => Promise<string>, inbox: Recorder) {
  for (let n = 0; ; n++) {
    const eventId = await say(`again ${n}`);
    const event = await inbox.first((one) => 'eventId' in one && one.eventId === eventId);
    if (event.type === 'message' && event.decryption?.state === 'decrypted') return event;
  }
}
