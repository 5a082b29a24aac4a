import type { User } from '../harness/homeserver.ts';
import type { Contender, MakeContender } from './contender.ts';
import { rawRooms } from './raw-rooms.ts';

interface Sync {
  readonly next_batch: string;
  readonly rooms?: {
    readonly join?: Record<string, { timeline: { events: { type: string; content: { body?: unknown } }[] } }>;
  };
}

const POLL_TIMEOUT_MS = 30_000;
const filter = JSON.stringify({
  presence: { types: [] },
  room: { timeline: { limit: 50 }, state: { lazy_load_members: true } },
});

/** The protocol and nothing else: fetch, JSON, and a loop. Keeps no state, heals nothing; the floor for everybody. */
export const raw: MakeContender = ({ homeserverUrl, admin, serverName }, onMessage): Contender => {
  const get = async (path: string, accessToken: string): Promise<unknown> => {
    const response = await fetch(`${homeserverUrl}${path}`, { headers: { authorization: `Bearer ${accessToken}` } });
    if (!response.ok) throw new Error(`${path}: ${response.status}`);
    return response.json();
  };
  const send = async (method: string, path: string, body: object, accessToken?: string): Promise<unknown> => {
    const headers = accessToken === undefined ? {} : { authorization: `Bearer ${accessToken}` };
    const response = await fetch(`${homeserverUrl}${path}`, {
      method,
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`${path}: ${response.status}`);
    return response.json();
  };
  const sync = async ({ accessToken }: User, since: string | undefined): Promise<Sync> => {
    const query = new URLSearchParams({ filter, timeout: String(since === undefined ? 0 : POLL_TIMEOUT_MS) });
    if (since !== undefined) query.set('since', since);
    return (await get(`/_matrix/client/v3/sync?${query.toString()}`, accessToken)) as Sync;
  };
  const loop = async (user: User, from: string): Promise<never> => {
    for (let since = from; ;) {
      const { next_batch: next, rooms } = await sync(user, since);
      since = next;
      for (const { timeline } of Object.values(rooms?.join ?? {})) {
        for (const { type, content } of timeline.events) if (type === 'm.room.message') onMessage(content.body);
      }
    }
  };
  let sent = 0;
  return {
    ...rawRooms({ get, send }),
    start: async (user) => {
      const first = await sync(user, undefined);
      void loop(user, first.next_batch);
    },
    send: ({ accessToken }, roomId, body) => {
      const path = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/send/m.room.message/raw-${sent++}`;
      return send('PUT', path, { msgtype: 'm.text', body }, accessToken);
    },
    readPage: async ({ accessToken }, roomId) => {
      const path = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/messages?dir=b&limit=50`;
      const { chunk } = (await get(path, accessToken)) as { chunk: unknown[] };
      return chunk.length;
    },
    provision: async (username) => {
      const password = crypto.randomUUID();
      const userId = `@${username}:${serverName}`;
      const path = `/_synapse/admin/v2/users/${encodeURIComponent(userId)}`;
      await send('PUT', path, { password, logout_devices: false }, admin.accessToken);
      const identifier = { type: 'm.id.user', user: userId };
      await send('POST', '/_matrix/client/v3/login', { type: 'm.login.password', identifier, password });
    },
  };
};
