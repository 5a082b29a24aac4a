import type { expect as vitestExpect, it as vitestIt } from 'vitest';
import type { MatrixClientManager } from '../../../src/index.js';
import type { HomeserverTarget } from '../../../src/testing/contracts/homeserver-contract.js';
import { Recorder } from '../../support/recorder.js';
import { identityOf, told } from './device-lives.js';
import { Deployment, encryptedRoom } from './encrypted-chats.js';

/** Many users with encryption of one manager. */
export function manyUsers(
  it: typeof vitestIt,
  expect: typeof vitestExpect,
  { pairs, target }: { readonly pairs: number; readonly target: () => Promise<HomeserverTarget> },
): void {
  it(
    `${2 * pairs} of one manager have an identity each, read each other, and keep their keys through a stop of all`,
    async () => {
      const deployment = new Deployment(await target());
      const manager = deployment.start();
      const replaced = told(manager, 'deviceReplaced');
      const users = await Promise.all(Array.from({ length: 2 * pairs }, () => deployment.user(manager)));
      const inboxes = users.map(() => new Recorder());
      await Promise.all(
        users.map((userId, n) => manager.startClient({ userId, callbacks: [(inboxes[n] as Recorder).callback] })),
      );
      const identities = await identitiesOf(manager, users);
      expect(new Set(identities.map(({ ed25519 }) => ed25519)).size).toBe(users.length);
      expect(new Set(identities.map(({ curve25519 }) => curve25519)).size).toBe(users.length);
      expect(manager.stats()).toMatchObject({ clients: { live: users.length }, openDevices: users.length });

      const rooms = await Promise.all(
        Array.from({ length: pairs }, (_, n) => encryptedRoom(manager, users.slice(2 * n, 2 * n + 2))),
      );
      /** Everybody sends a message to the other one of the pair, and gets theirs. */
      const talk = async (text: string): Promise<void> => {
        await Promise.all(
          users.map((userId, n) =>
            manager.sendMessage({ userId, roomId: rooms[Math.floor(n / 2)] ?? '', text: `${text} of ${n}` }),
          ),
        );
        await Promise.all(inboxes.map((inbox, n) => inbox.message(`${text} of ${n ^ 1}`)));
      };
      await talk('first');
      await Promise.all(users.map((userId) => manager.stopClient(userId)));
      expect(manager.stats()).toMatchObject({ clients: { live: 0 }, openDevices: 0 });
      await Promise.all(users.map((userId) => manager.startClient({ userId })));
      expect(await identitiesOf(manager, users)).toEqual(identities);
      await talk('second');
      expect(replaced).toEqual([]);
      expect(manager.stats().decryptions).toMatchObject({ 'missing-key': 0, unreadable: 0, withheld: 0 });
    },
    20_000 + pairs * 2_000,
  );
}

function identitiesOf(manager: MatrixClientManager, users: readonly string[]) {
  return Promise.all(users.map((userId) => identityOf(manager, userId)));
}
