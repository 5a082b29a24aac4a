import type { SlidingSync } from 'matrix-js-sdk/lib/sliding-sync.js';
import type { MatrixClient, MatrixEvent } from 'matrix-js-sdk';
import type { Logger } from 'matrix-js-sdk/lib/logger.js';
import type { User } from '../harness/homeserver.ts';
import { bareRooms } from './bare-rooms.ts';
import type { MakeContender } from './contender.ts';

const POLL_TIMEOUT_MS = 30_000;
const SLIDING_WINDOW = 20;
/** What is needed of a room; of its members only those whom the timeline concerns. */
const REQUIRED_STATE: [string, string][] = [
  ...['create', 'name', 'topic', 'avatar', 'canonical_alias', 'encryption', 'join_rules', 'power_levels'].map(
    (name): [string, string] => [`m.room.${name}`, ''], // not ['*', '']: Synapse 1.160 answers 500 to that
  ),
  ['m.room.member', '$LAZY'],
];
const nothing = (): void => {};
const silentLogger: Logger = {
  trace: nothing,
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
  getChild: () => silentLogger,
};

/**
 * matrix-js-sdk as somebody who knows it sets it up for a chat backend: members loaded lazily, no presence, no calls,
 * no logging, as many events per sync as the library asks for; encryption, where it is wanted, with its keys in memory,
 * which is all that it has in Node: they are gone with the process.
 */
export async function bare({ sliding, encrypted }: { sliding: boolean; encrypted: boolean }): Promise<MakeContender> {
  const sdk = await import('matrix-js-sdk');
  const { logger } = await import('matrix-js-sdk/lib/logger.js');
  const { SlidingSync } = await import('matrix-js-sdk/lib/sliding-sync.js');
  const { ClientEvent, Direction, MsgType, MatrixEventEvent, RoomEvent, SyncState, createClient, Filter } = sdk;
  (logger as unknown as { setLevel: (level: string, persist: boolean) => void }).setLevel('silent', false);

  const windowOf = (client: MatrixClient): SlidingSync => {
    const room = { timeline_limit: 20, required_state: REQUIRED_STATE };
    const list = { ...room, ranges: [[0, SLIDING_WINDOW - 1]] };
    return new SlidingSync(client.baseUrl, new Map([['all', list]]), room, client, POLL_TIMEOUT_MS);
  };

  return ({ homeserverUrl: baseUrl }, onMessage) => {
    const clients = new Map<string, MatrixClient>();
    const clientOf = (user: User): MatrixClient => {
      const client =
        clients.get(user.userId) ?? createClient({ baseUrl, ...user, logger: silentLogger, disableVoip: true });
      clients.set(user.userId, client);
      return client;
    };
    const sleep = async (userId: string): Promise<void> => {
      clients.get(userId)?.stopClient();
      clients.get(userId)?.removeAllListeners();
      clients.delete(userId);
    };
    const start = async (user: User): Promise<void> => {
      const client = clientOf(user);
      const note = (event: MatrixEvent): void => {
        const isMessage = event.getType() === 'm.room.message' && event.getSender() !== user.userId;
        if (isMessage && client.isInitialSyncComplete()) onMessage(event.getContent().body);
      };
      if (encrypted) {
        await client.initRustCrypto({ useIndexedDB: false });
        client.on(MatrixEventEvent.Decrypted, note);
      } else {
        client.on(RoomEvent.Timeline, (event, _room, _toStart, _removed, { liveEvent }) => {
          if (liveEvent) note(event);
        });
      }
      const prepared = new Promise<void>((resolve) =>
        client.on(ClientEvent.Sync, (state) => {
          if (state === SyncState.Prepared) resolve();
        }),
      );
      const options = { pollTimeout: POLL_TIMEOUT_MS, lazyLoadMembers: true, disablePresence: true };
      if (sliding) {
        void client.startClient({ ...options, slidingSync: windowOf(client) }); // resolves when it is stopped
      } else {
        const filter = Filter.fromJson(user.userId, '', { room: { timeline: { limit: 50 } } });
        await client.startClient({ ...options, initialSyncLimit: 20, filter });
      }
      await prepared;
    };
    return {
      start,
      send: (user, roomId, body) => clientOf(user).sendMessage(roomId, { msgtype: MsgType.Text, body }),
      sleep,
      readPage: async (user, roomId) => {
        const { chunk } = await clientOf(user).createMessagesRequest(roomId, null, 50, Direction.Backward);
        return chunk.length;
      },
      ...bareRooms({ of: clientOf, start, sleep }),
    };
  };
}
