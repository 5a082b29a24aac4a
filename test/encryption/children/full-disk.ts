// Three users of a manager on the folder at the first argument, and a disk that is full in between: prints, as JSON, what
// became of them. The disk is full for this process alone: no file may grow beyond what the crypto store has.
import { execFileSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { isManagerError, MatrixClientManager } from '../../../src/index.js';
import { FakeHomeserver } from '../../../src/testing/fake-homeserver/fake-homeserver.js';
import { print } from '../../storage/children/print.js';
import { Recorder } from '../../support/recorder.js';
import { Door } from '../support/door.js';

const folder = process.argv[2] ?? '';
const path = join(folder, 'keys.sqlite');
const roomEncryption = { type: 'm.room.encryption', content: { algorithm: 'm.megolm.v1.aes-sha2' } };

function limitFiles(bytes: number): void {
  execFileSync('prlimit', ['--pid', `${process.pid}`, `--fsize=${bytes}:`]);
}

const fake = new FakeHomeserver();
const door = new Door(fake);
const manager = new MatrixClientManager({
  homeserverUrl: fake.baseUrl,
  admin: fake.admin,
  fetch: door.target.fetch as typeof fetch,
  encryption: { path, secret: new Uint8Array(32).fill(7) },
  pollTimeoutMs: 5_000,
});
const [alice, bob, carol] = await Promise.all(
  ['alice', 'bob', 'carol'].map((username) => manager.provisionUser({ username })),
);
if (!alice || !bob || !carol) throw new Error('no users');
const roomId = fake.createRoom({ creator: alice.userId, members: [bob.userId], initialState: [roomEncryption] });
const inbox = new Recorder();
for (const { userId } of [alice, bob, carol]) await manager.startClient({ userId });
manager.addCallback(bob.userId, inbox.callback);
const stops: unknown[] = [];
const replaced: unknown[] = [];
manager.on('clientStopped', ({ userId, reason, error }) => stops.push({ userId, reason, error: String(error) }));
manager.on('deviceReplaced', (event) => replaced.push(event));
const stopped = (): Promise<unknown> => new Promise((resolve) => manager.on('clientStopped', resolve));
const say = (text: string) => manager.sendMessage({ userId: alice.userId, roomId, text });
const identities = () =>
  Promise.all(
    [alice, bob, carol].map(({ userId }) =>
      manager.withClient(userId, (client) => client.getCrypto()?.getOwnDeviceKeys()),
    ),
  );
const before = await identities();
await say('before');
await inbox.message('before');

// Bob's client learns a room key that it cannot store.
const poll = await door.hold(({ name, token }) => token === bob.accessToken && name.endsWith('/v3/sync'));
await manager.withClient(alice.userId, (client) => client.getCrypto()?.forceDiscardSession(roomId));
await say('while it fills');
limitFiles(Math.max(statSync(`${path}-wal`).size, statSync(path).size));
const first = stopped();
poll.let();
await first;
const startWhileFull = await manager.startClient({ userId: bob.userId }).then(
  () => 'live',
  (error: unknown) => (isManagerError(error) ? error.code : error),
);
const sendWhileFull = await say('on a full disk').then(
  () => 'sent',
  (error: unknown) => (isManagerError(error) ? error.code : error),
);
if (stops.length < 2) await stopped();
const states = [alice, bob, carol].map(({ userId }) => manager.clientInfo(userId)?.state);

limitFiles(500_000_000);
await manager.startClient({ userId: alice.userId });
await manager.startClient({ userId: bob.userId });
await say('after');
await inbox.message('after');
const contents = fake.events(roomId).filter(({ type }) => type === 'm.room.encrypted');
print(
  JSON.stringify({
    stops,
    replaced,
    startWhileFull,
    sendWhileFull,
    states,
    bodies: inbox.bodies(roomId),
    sameKeys: JSON.stringify(await identities()) === JSON.stringify(before),
    contents: contents.map(({ content }) => content),
  }),
);
await manager.shutdown();
