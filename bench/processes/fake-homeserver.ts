// The fake homeserver, in a process of its own, so that its work is not measured.
import { setTimeout as sleep } from 'node:timers/promises';
import { serve } from '../harness/child.ts';
import type { HomeserverServices, User } from '../harness/homeserver.ts';
import { now, stamped } from '../harness/homeserver.ts';
import { importLibrary } from '../harness/library.ts';
import type { OutageServices } from '../harness/outage.ts';
import { OutageWatch } from '../harness/outage.ts';

const { FakeHomeserver } = await importLibrary('testing');
const fake = new FakeHomeserver();
const homeserverUrl = await fake.listen();
const versions = await fetch(`${homeserverUrl}/_matrix/client/versions`);
const { unstable_features: features } = (await versions.json()) as { unstable_features: Record<string, boolean> };
const encryption = { type: 'm.room.encryption', content: { algorithm: 'm.megolm.v1.aes-sha2' } };
const PATIENCE_MS = 60_000;
const watch = new OutageWatch(fake);
let users = 0;
// Requests are noted one by one, for tests; nobody reads them here.
setInterval(() => watch.look(), 20).unref();

async function until(done: () => boolean): Promise<void> {
  const deadline = now() + PATIENCE_MS;
  while (!done()) {
    if (now() > deadline) throw new Error(`${fake.inFlight} requests are under way: somebody does not listen`);
    await sleep(1);
  }
}

serve({
  about: () => ({
    homeserverUrl,
    serverName: fake.serverName,
    admin: { userId: fake.admin.userId, accessToken: fake.admin.accessToken },
    slidingSync: features['org.matrix.simplified_msc3575'] ?? false,
  }),
  makeUsers: (count) => Array.from({ length: count }, () => fake.createUser({ username: `user${users++}` })),
  newDevice: ({ userId }) => fake.openSession(userId),
  makeRooms: (rooms) =>
    rooms.map(({ members: [creator, ...members], messages, encrypted }, index) => {
      const { userId } = creator as User;
      const room = { creator: userId, members: members.map((user) => user.userId), name: `Room ${index}` };
      const roomId = fake.createRoom({ ...room, ...(encrypted && { initialState: [encryption] }) });
      for (let n = 0; n < messages; n++) fake.sendMessage(roomId, userId, `message ${n} of what was said before`);
      return roomId;
    }),
  send: ({ roomId, sender, count }) => {
    for (let n = 0; n < count; n++) fake.sendMessage(roomId, sender.userId, stamped());
  },
  talk: async ({ roomId, sender, count, burst, listeners }) => {
    for (let sent = 0; sent < count; sent += burst) {
      await until(() => fake.inFlight >= listeners);
      const syncs = watch.look() + listeners;
      for (let n = 0; n < burst; n++) fake.sendMessage(roomId, sender.userId, stamped());
      await until(() => watch.look() >= syncs);
    }
  },
  hangUp: () => fake.restart(),
  stop: () => {},
  fail: (outage) => watch.fail(outage),
  recover: async (clients) => {
    await watch.recover();
    while (watch.back < clients && !watch.overdue) await sleep(20);
    return watch.report();
  },
} satisfies HomeserverServices & OutageServices);
