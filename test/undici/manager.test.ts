import { setImmediate as turn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { MatrixClientManager } from '../../src/index.js';
import { FakeHomeserver } from '../../src/testing/index.js';
import { undiciTransport } from '../../src/undici/index.js';
import { Recorder } from '../support/recorder.js';

const sockets = (): number => process.getActiveResourcesInfo().filter((kind) => kind === 'TCPSocketWrap').length;

it('a shutdown leaves no socket, and nothing is taken from another manager on the same transport', async () => {
  await using fake = new FakeHomeserver();
  const homeserverUrl = await fake.listen();
  const before = sockets();
  const transport = undiciTransport();
  const make = (): MatrixClientManager => new MatrixClientManager({ homeserverUrl, admin: fake.admin, transport });
  const [first, second] = [make(), make()];
  const users = Array.from({ length: 20 }, (_, n) => fake.createUser({ username: `user${n}` }));
  const [alice, bob] = users as [(typeof users)[0], (typeof users)[0]];
  const roomId = fake.createRoom({ creator: alice.userId, members: users.slice(1).map(({ userId }) => userId) });
  const recorder = new Recorder();
  await Promise.all(users.slice(2).map((user) => first.startClient(user)));
  await second.startClient({ ...alice, callbacks: [recorder.callback] });
  await first.shutdown();
  await second.startClient(bob);
  await second.sendMessage({ userId: bob.userId, roomId, text: 'to another' });
  await recorder.message('to another');
  expect(sockets()).toBeGreaterThan(before);
  await second.shutdown();
  while (sockets() > before) await turn(); // the homeserver's ends of them
  expect(fake.inFlight).toBe(0);
});

it('a homeserver that restarts is found again', async () => {
  await using fake = new FakeHomeserver();
  const homeserverUrl = await fake.listen();
  await using manager = new MatrixClientManager({ homeserverUrl, admin: fake.admin, transport: undiciTransport() });
  const { userId } = await manager.provisionUser({ username: 'alice' });
  const recorder = new Recorder();
  await manager.startClient({ userId, callbacks: [recorder.callback] });
  const roomId = fake.createRoom({ creator: userId });
  fake.restart();
  await manager.sendMessage({ userId, roomId, text: 'after it' });
  expect(await recorder.message('after it')).toMatchObject({ provenance: 'live' });
});
