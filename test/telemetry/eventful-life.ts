import type { ClientCallback } from '../../src/index.js';
import { advanceUntil } from '../support/advance-until.js';
import type { WatchedManager } from './watched-manager.js';

/** Whose ids and secrets must show nowhere. */
export interface Life {
  readonly ids: readonly string[];
}

/** Lives through all that is counted: accounts, starts, sends, callbacks that fail, gaps, an outage, stops. */
export async function eventfulLife({ clock, fake, manager }: WatchedManager): Promise<Life> {
  const until = <T>(work: Promise<T>): Promise<T> => advanceUntil(clock, work, { stepMs: 100 });
  const alice = await until(manager.provisionUser({ username: 'alice' }));
  await until(manager.provisionUser({ username: 'alice' }));
  fake.createUser({ username: 'carol' });
  fake.deactivateUser(`@carol:${fake.serverName}`);
  await until(manager.provisionUser({ username: 'carol' }).catch(() => {}));
  const bob = fake.createUser({ username: 'bob' });
  const roomId = fake.createRoom({ creator: bob.userId, members: [alice.userId] });
  const callback: ClientCallback = (event) => {
    if ('content' in event && event.content.body === 'poison') throw new Error(`cannot take ${event.eventId}`);
  };
  manager.addCallback(alice.userId, callback, { backlog: true });

  // A start from nothing, one from a position, one that fails.
  await until(manager.startClient({ userId: alice.userId }));
  await until(manager.stopClient(alice.userId));
  await until(manager.startClient({ userId: alice.userId }));
  await until(manager.startClient({ userId: `@nobody:${fake.serverName}` }).catch(() => {}));

  // News of all sorts, one of which is poison.
  const eventId = fake.sendMessage(roomId, bob.userId, 'hello');
  fake.sendReceipt(roomId, bob.userId, eventId);
  fake.setTyping(roomId, bob.userId, true);
  fake.sendMessage(roomId, bob.userId, 'poison');
  await clock.advance(10_000);

  // A gap that can be filled, and one that is too large.
  for (const messages of [30, 200]) {
    const unlimit = fake.limitTimelines(2);
    const reconnected = fake.faults.status({ endpoint: '/sync' }, { status: 500 });
    await clock.advance(40_000);
    for (let n = 0; n < messages; n++) fake.sendMessage(roomId, bob.userId, `message ${n}`);
    reconnected();
    await clock.advance(120_000);
    unlimit();
  }

  // Sends: one that has to be repeated, a durable one, one that is refused.
  fake.faults.status({ endpoint: '/rooms/{roomId}/send/{eventType}/{txnId}', times: 1 }, { status: 503 });
  const { eventId: sentId } = await until(manager.sendMessage({ userId: alice.userId, roomId, text: 'one' }));
  await until(manager.sendMessage({ userId: alice.userId, roomId, text: 'two', durable: true, txnId: 'txn-two' }));
  const elsewhere = fake.createRoom({ creator: bob.userId });
  await until(manager.sendMessage({ userId: alice.userId, roomId: elsewhere, text: 'no' }).catch(() => {}));
  await until(manager.getRoomMessages({ userId: alice.userId, roomId, limit: 200 }));
  await until(manager.admin.getUser(alice.userId));

  // An outage.
  const mend = fake.faults.status({}, { status: 503 });
  fake.restart();
  await clock.advance(60_000);
  mend();
  await clock.advance(20_000);
  return {
    ids: [
      alice.userId,
      bob.userId,
      'alice',
      'carol',
      roomId,
      elsewhere,
      eventId,
      sentId,
      'txn-two',
      alice.deviceId,
    ].concat([alice.accessToken, bob.accessToken, 'accessToken' in fake.admin ? fake.admin.accessToken : 'none']),
  };
}
