import { describe, expect, it, onTestFinished } from 'vitest';
import { managerOnFake } from '../support/manager-on-fake.js';
import { rejection } from '../support/rejection.js';

const SEND = '/rooms/{roomId}/send/{eventType}/{txnId}';
const algorithm = { algorithm: 'm.megolm.v1.aes-sha2' };

/** Alice, whose client runs, in a room with Bob. She has no encryption, so an encrypted message is refused. */
async function setUp() {
  const { fake, manager, clock, soon } = managerOnFake();
  onTestFinished(async () => {
    await soon(manager.shutdown());
    await fake.close();
  });
  const [alice, bob] = [fake.createUser({ username: 'alice' }), fake.createUser({ username: 'bob' })];
  const roomId = fake.createRoom({ creator: alice.userId, members: [bob.userId] });
  await soon(manager.startClient(alice));
  const { userId } = alice;
  const encryptRoom = (): void => void fake.sendState(roomId, userId, 'm.room.encryption', algorithm);
  const sentInTheClear = (): boolean => JSON.stringify(fake.events(roomId)).includes('top secret');
  return { fake, manager, clock, soon, userId, roomId, encryptRoom, sentInTheClear };
}

describe('a message to a room that is seen encrypted', () => {
  it.each([false, true])(
    'while it waits for a rate limit is not repeated in the clear (durable: %s)',
    async (durable) => {
      const { fake, manager, clock, soon, userId, roomId, encryptRoom, sentInTheClear } = await setUp();
      fake.faults.rateLimit({ endpoint: SEND, times: 1 }, { retryAfterMs: 60_000 });
      const failure = rejection(manager.sendMessage({ userId, roomId, text: 'top secret', durable }));
      await clock.advance(1_000);
      encryptRoom();
      expect(await soon(failure)).toMatchObject({ code: 'ENCRYPTION_UNAVAILABLE', userId, roomId });
      expect(sentInTheClear()).toBe(false);
    },
  );

  it('while the homeserver is asked, which then denies it, is not sent in the clear', async () => {
    const { fake, manager, clock, soon, userId, roomId, encryptRoom, sentInTheClear } = await setUp();
    fake.faults.rateLimit({ path: /state\/m.room.encryption/, times: 1 }, { retryAfterMs: 60_000 });
    fake.faults.status({ path: /state\/m.room.encryption/ }, { status: 404, errcode: 'M_NOT_FOUND' });
    const failure = rejection(manager.sendMessage({ userId, roomId, text: 'top secret' }));
    await clock.advance(1_000);
    encryptRoom();
    expect(await soon(failure)).toMatchObject({ code: 'ENCRYPTION_UNAVAILABLE', userId, roomId });
    expect(sentInTheClear()).toBe(false);
  });

  it('while its file waits for a rate limit sends no file in the clear', async () => {
    const { fake, manager, clock, soon, userId, roomId, encryptRoom } = await setUp();
    fake.faults.rateLimit({ path: /upload$/, times: 1 }, { retryAfterMs: 60_000 });
    const file = { body: Buffer.from('top secret'), name: 'plan.txt', mimeType: 'text/plain' };
    const failure = rejection(manager.sendFile({ userId, roomId, file }));
    await clock.advance(1_000);
    encryptRoom();
    expect(await soon(failure)).toMatchObject({ code: 'ENCRYPTION_UNAVAILABLE', userId, roomId });
    expect(fake.countRequests(({ path }) => path.endsWith('/upload'))).toBe(1);
  });

  it('while the homeserver is asked before an upload, which then denies it, sends no file in the clear', async () => {
    const { fake, manager, clock, soon, userId, roomId, encryptRoom } = await setUp();
    fake.faults.rateLimit({ path: /state\/m.room.encryption/, times: 1 }, { retryAfterMs: 60_000 });
    fake.faults.status({ path: /state\/m.room.encryption/ }, { status: 404, errcode: 'M_NOT_FOUND' });
    const file = { body: Buffer.from('top secret'), name: 'plan.txt', mimeType: 'text/plain' };
    const failure = rejection(manager.sendFile({ userId, roomId, file }));
    await clock.advance(1_000);
    encryptRoom();
    expect(await soon(failure)).toMatchObject({ code: 'ENCRYPTION_UNAVAILABLE', userId, roomId });
    expect(fake.countRequests(({ path }) => path.endsWith('/upload'))).toBe(0);
  });
});
