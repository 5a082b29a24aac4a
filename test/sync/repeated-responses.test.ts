import { expect, it } from 'vitest';
import { MatrixClientManager } from '../../src/index.js';
import { uncachedFilter } from '../../src/sync/sync-query.js';
import { FakeHomeserver, ManualClock, MemoryLogger } from '../../src/testing/index.js';
import { Recorder } from '../support/recorder.js';

it('a resumed client gets with its first sync what is new, although the homeserver repeats old responses', async () => {
  const clock = new ManualClock();
  await using fake = new FakeHomeserver({ clock });
  const alice = fake.createUser({ username: 'alice' });
  const bob = fake.createUser({ username: 'bob' });
  const roomId = fake.createRoom({ creator: alice.userId, members: [bob.userId] });
  let syncsLeft = Infinity;
  const fetch: typeof globalThis.fetch = (input, init) => {
    const isSync = new URL(input instanceof Request ? input.url : input).pathname.endsWith('/sync');
    return fake.fetch(input, isSync && syncsLeft-- <= 0 ? { ...init, signal: AbortSignal.abort() } : init);
  };
  await using manager = new MatrixClientManager({
    homeserverUrl: fake.baseUrl,
    fetch,
    clock,
    logger: new MemoryLogger(),
    slidingSync: false,
  });
  const finished = Promise.withResolvers<void>();
  const [before, afterwards] = [new Recorder(), new Recorder()];
  manager.addCallback(bob.userId, before.callback);
  const remove = manager.addCallback(bob.userId, () => finished.promise); // so the position stays where it is
  await manager.startClient(bob);
  const stop = async (): Promise<void> => {
    const stopping = manager.stopClient(bob.userId);
    await clock.advance(40_000);
    await stopping;
  };
  await stop();
  fake.staleSync = true;
  fake.sendMessage(roomId, alice.userId, 'one');
  await manager.startClient({ userId: bob.userId });
  await before.message('one');
  await stop();
  fake.sendMessage(roomId, alice.userId, 'two');
  remove();
  finished.resolve();
  manager.addCallback(bob.userId, afterwards.callback);
  syncsLeft = 1;
  await manager.startClient({ userId: bob.userId });
  await clock.advance(1_000);
  expect(afterwards.bodies()).toContain('two');
});

it('a filter that is not cached lets the same through', () => {
  const filter = JSON.stringify({ room: { timeline: { limit: 5 } }, account_data: { limit: 0 } });
  const [one, other] = [uncachedFilter(filter), uncachedFilter(filter)];
  expect(one).not.toBe(other);
  const notSenders = [expect.stringMatching(/^@.+:nonce\.invalid$/)];
  expect(JSON.parse(one)).toEqual({ ...JSON.parse(filter), presence: { not_senders: notSenders } });
  expect(uncachedFilter(filter, 'a')).toBe(uncachedFilter(filter, 'a'));
});
