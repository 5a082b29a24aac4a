// A real Synapse, driven over its HTTP API as the fake one is driven in its process. Runs under tsx.
import { setTimeout as sleep } from 'node:timers/promises';
import PQueue from 'p-queue';
import { startSynapse } from '../../scripts/synapse/start-synapse.js';
import { serve } from '../harness/child.ts';
import type { HomeserverServices, User } from '../harness/homeserver.ts';
import { stamped } from '../harness/homeserver.ts';

const CONCURRENCY = 4;
/** What Synapse needs to tell one listener of a message, with time to spare, in milliseconds. */
const TALK_PAUSE_MS = 12;
const PASSWORD = 'benchmark password';

const synapse = await startSynapse({
  extraConfig: {
    experimental_features: { msc3575_enabled: true },
    // Otherwise a `/sync` without a position is answered for two minutes as it was before.
    caches: { sync_response_cache_duration: 0 },
  },
});
const { baseUrl, serverName, admin } = synapse;
const run = Date.now().toString(36);
let users = 0;
let sent = 0;

async function request(method: string, path: string, token: string | undefined, body?: object): Promise<unknown> {
  const response = await fetch(`${baseUrl}${path}`, {
    method,
    headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
    ...(body && { body: JSON.stringify(body) }),
  });
  const answer: unknown = await response.json();
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${JSON.stringify(answer)}`);
  return answer;
}

async function each<T, R>(items: readonly T[], action: (item: T, index: number) => Promise<R>): Promise<R[]> {
  const queue = new PQueue({ concurrency: CONCURRENCY });
  return queue.addAll(items.map((item, index) => () => action(item, index)));
}

async function logIn(userId: string): Promise<User> {
  const identifier = { type: 'm.id.user', user: userId };
  const login = { type: 'm.login.password', identifier, password: PASSWORD };
  const answer = await request('POST', '/_matrix/client/v3/login', undefined, login);
  const { access_token: accessToken, device_id: deviceId } = answer as { access_token: string; device_id: string };
  return { userId, accessToken, deviceId };
}

async function makeUser(): Promise<User> {
  const userId = `@bench-${run}-${users++}:${serverName}`;
  const path = `/_synapse/admin/v2/users/${encodeURIComponent(userId)}`;
  await request('PUT', path, admin.accessToken, { password: PASSWORD });
  return logIn(userId);
}

async function makeRoom(members: readonly User[], messages: number, index: number): Promise<string> {
  const [creator, ...others] = members as [User, ...User[]];
  const room = { name: `Room ${index}`, preset: 'public_chat' };
  const made = await request('POST', '/_matrix/client/v3/createRoom', creator.accessToken, room);
  const { room_id: roomId } = made as { room_id: string };
  const join = `/_matrix/client/v3/join/${encodeURIComponent(roomId)}`;
  for (const { accessToken } of others) await request('POST', join, accessToken, {});
  for (let n = 0; n < messages; n++) await say(roomId, creator, `message ${n} of what was said before`);
  return roomId;
}

async function say(roomId: string, sender: User, body: string): Promise<void> {
  const path = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/send/m.room.message/${run}-${sent++}`;
  await request('PUT', path, sender.accessToken, { msgtype: 'm.text', body });
}

const { unstable_features: features } = (await request('GET', '/_matrix/client/versions', admin.accessToken)) as {
  unstable_features: Record<string, boolean>;
};

serve({
  about: () => ({
    homeserverUrl: baseUrl,
    serverName,
    admin: { userId: admin.userId, accessToken: admin.accessToken },
    slidingSync: features['org.matrix.simplified_msc3575'] ?? false,
  }),
  makeUsers: (count) => each(Array.from({ length: count }), makeUser),
  newDevice: ({ userId }) => logIn(userId),
  makeRooms: (rooms) => each(rooms, ({ members, messages }, index) => makeRoom(members, messages, index)),
  send: async ({ roomId, sender, count }) => {
    for (let n = 0; n < count; n++) await say(roomId, sender, stamped());
  },
  talk: async ({ roomId, sender, count, listeners }) => {
    for (let n = 0; n < count; n++) {
      await say(roomId, sender, stamped());
      await sleep(TALK_PAUSE_MS * listeners);
    }
  },
  hangUp: () => {},
  stop: () => synapse.stop(),
} satisfies HomeserverServices);
