import { join } from 'node:path';
import type { ClientEvent, MatrixClientManagerOptions } from 'matrix-client-manager';
import type { User } from '../harness/homeserver.ts';
import { importLibrary, scratchFolder } from '../harness/library.ts';
import type { ContenderName, MakeContender } from './contender.ts';

const SECRET = 'the secret of a benchmark';

/** The library with its default options and a callback, or with the one option that its name says. */
export async function ours(name: ContenderName): Promise<MakeContender> {
  const { MatrixClientManager, sqliteStorage } = await importLibrary('index');
  const options: Partial<Record<ContenderName, () => Promise<Partial<MatrixClientManagerOptions>>>> = {
    'ours-undici': async () => ({ transport: (await importLibrary('undici')).undiciTransport() }),
    'ours-plain': async () => ({ slidingSync: false }),
    'ours-sqlite': async () => {
      const path = join(scratchFolder(), 'storage.sqlite');
      return { storage: sqliteStorage({ path, secret: SECRET }) };
    },
    'ours-encrypted': async () => ({ encryption: { path: join(scratchFolder(), 'keys.sqlite'), secret: SECRET } }),
  };
  const own = await options[name]?.();
  return ({ homeserverUrl, admin }, onMessage) => {
    const known = new Map<string, User>();
    const credentials = async (userId: string): Promise<User | undefined> => known.get(userId);
    const manager = new MatrixClientManager({ homeserverUrl, admin, credentials, ...own });
    const callback = (event: ClientEvent): void => {
      if (event.type === 'message' && event.sender !== event.userId) onMessage(event.content.body);
    };
    const note = ({ userId, accessToken, deviceId }: User): string => {
      known.set(userId, { userId, accessToken, deviceId });
      return userId;
    };
    return {
      start: (user) => manager.startClient({ userId: note(user), callbacks: [callback] }),
      sleep: (userId) => manager.stopClient(userId),
      send: (user, roomId, text) => manager.sendMessage({ userId: note(user), roomId, text }),
      readPage: async (user, roomId) => {
        const { messages } = await manager.getRoomMessages({ roomId, userId: note(user), limit: 50 });
        return messages.length;
      },
      createRoom: async (user, name) => (await manager.rooms.create({ userId: note(user), name })).roomId,
      ensureMembers: async (by, roomId, users) => {
        const results = await manager.rooms.ensureMember({ by: note(by), roomId, userIds: users.map(note) });
        return results.filter(({ status }) => status !== 'failed').length;
      },
      countMembers: async (user, roomId) => (await manager.rooms.members({ userId: note(user), roomId })).total,
      listRooms: async (user, limit) => {
        const { rooms } = await manager.listRooms(note(user), { limit });
        return { rooms: rooms.length, unread: rooms.reduce((sum, { unread }) => sum + unread, 0) };
      },
      provision: (username) => manager.provisionUser({ username }),
    };
  };
}
