import { describe, inject } from 'vitest';
import type { MatrixClientManager, MatrixClientManagerOptions } from '../../../src/index.js';
import type { RawEvent } from '../../../src/testing/contracts/homeserver/responses.js';
import type { ForeignClientName } from '../../../scripts/interop/foreign-clients.js';
import { Deployment, encryptedRoom } from '../../encryption/support/encrypted-chats.js';
import { Recorder } from '../../support/recorder.js';
import { clientsOfThisRun } from './clients-of-this-run.js';
import { ForeignUser } from './foreign-user.js';
import { untilMembership } from './memberships.js';

/**
 * Declares the tests of `body` for each foreign client; they are skipped for one that this machine cannot have.
 * @param can - whether the client can do what is tested
 */
export function withEachForeignClient(
  body: (name: ForeignClientName) => void,
  can: (name: ForeignClientName) => boolean = () => true,
): void {
  for (const name of clientsOfThisRun.filter(can)) {
    const installed = inject('foreignClients')[name];
    describe.skipIf(!installed || 'unavailable' in installed)(`with ${name}`, () => {
      body(name);
    });
  }
}

export interface Meeting {
  readonly deployment: Deployment;
  readonly manager: MatrixClientManager;
  /** Our user. */
  readonly alice: string;
  readonly inbox: Recorder;
  /** The foreign client's user. */
  readonly bob: ForeignUser;
  readonly roomId: string;
  readonly say: (text: string) => Promise<string>;
  /** Makes the next message of our user start a Megolm session. */
  readonly rotate: () => Promise<unknown>;
}

/** Our user and one with a foreign client, in an encrypted room. */
export async function meet(
  name: ForeignClientName,
  options: Partial<MatrixClientManagerOptions> | ((deployment: Deployment) => Partial<MatrixClientManagerOptions>) = {},
): Promise<Meeting> {
  const deployment = new Deployment(inject('synapse'));
  const manager = deployment.start(typeof options === 'function' ? options(deployment) : options);
  const alice = await deployment.user(manager);
  const inbox = new Recorder();
  await manager.startClient({ userId: alice, callbacks: [inbox.callback] });
  const bob = await ForeignUser.logIn(name, deployment.world, deployment.folder);
  const roomId = await encryptedRoom(manager, [alice]);
  await bringIn(manager, alice, roomId, bob);
  return {
    deployment,
    manager,
    alice,
    inbox,
    bob,
    roomId,
    say: async (text) => (await manager.sendMessage({ userId: alice, roomId, text })).eventId,
    rotate: () => manager.withClient(alice, (client) => client.getCrypto()?.forceDiscardSession(roomId)),
  };
}

/** Invites a foreign user, lets them join, and waits until our client knows. */
export async function bringIn(
  manager: MatrixClientManager,
  userId: string,
  roomId: string,
  guest: Pick<ForeignUser, 'userId' | 'join'>,
): Promise<void> {
  await manager.withClient(userId, (client) => client.invite(roomId, guest.userId));
  await guest.join(roomId);
  await untilMembership(manager, userId, roomId, guest.userId, 'join');
}

/** An event as the homeserver has it. */
export async function rawEvent(manager: MatrixClientManager, userId: string, roomId: string, eventId: string) {
  return manager.withClient(userId, async (client) => (await client.fetchRoomEvent(roomId, eventId)) as RawEvent);
}

/** Resolves with an event that our user has got. */
export function received(inbox: Recorder, eventId: string) {
  return inbox.first((event) => 'eventId' in event && event.eventId === eventId);
}
