import { expect, inject, it } from 'vitest';
import type { SyncResponse } from '../../src/testing/contracts/homeserver/responses.js';
import type { TestUser } from '../../src/testing/contracts/homeserver/test-user.js';
import { keysOfNewDevice } from '../encryption/support/olm-machine.js';
import { Deployment, encryptedRoom } from '../encryption/support/encrypted-chats.js';
import { Recorder } from '../support/recorder.js';
import { clientsOfThisRun } from './support/clients-of-this-run.js';
import { ForeignUser } from './support/foreign-user.js';
import { bringIn, received } from './support/meeting.js';

const MANY = 200;
const AT_ONCE = 8;

/** Our user and one of each foreign client that this machine has, in an encrypted room. */
async function meetAll() {
  const deployment = new Deployment(inject('synapse'));
  const manager = deployment.start();
  const alice = await deployment.user(manager);
  const inbox = new Recorder();
  await manager.startClient({ userId: alice, callbacks: [inbox.callback] });
  const roomId = await encryptedRoom(manager, [alice]);
  const installed = inject('foreignClients');
  const names = clientsOfThisRun.filter((name) => 'command' in (installed[name] ?? {}));
  const guests = await Promise.all(names.map((name) => ForeignUser.logIn(name, deployment.world, deployment.folder)));
  for (const guest of guests) await bringIn(manager, alice, roomId, guest);
  return { deployment, manager, alice, inbox, roomId, guests, world: deployment.world };
}

async function inTurns<T>(count: number, work: (n: number) => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) {
      const n = next++;
      results[n] = await work(n);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return results;
}

/** Uploads keys for the device of a session that no client runs on. */
async function publishKeys(user: TestUser): Promise<TestUser> {
  const keys: unknown = JSON.parse(await keysOfNewDevice(user));
  const { status } = await user.http.post('/_matrix/client/v3/keys/upload', keys);
  expect(status).toBe(200);
  return user;
}

/** Who sent room keys to a device. */
async function sendersOfKeys(device: TestUser): Promise<string[]> {
  const nothingElse = { room: { rooms: [] }, presence: { types: [] }, account_data: { types: [] } };
  const { to_device: toDevice } = (await device.sync({ filter: nothingElse })) as SyncResponse & {
    to_device?: { events: readonly { type: string; sender: string }[] };
  };
  const encrypted = (toDevice?.events ?? []).filter(({ type }) => type === 'm.room.encrypted');
  return encrypted.map(({ sender }) => sender).toSorted();
}

async function everyoneSpeaks({ manager, alice, inbox, roomId, guests }: Awaited<ReturnType<typeof meetAll>>) {
  const { eventId } = await manager.sendMessage({ userId: alice, roomId, text: 'to everyone' });
  for (const guest of guests) {
    expect(await guest.readEvent(eventId)).toMatchObject({ sender: alice, content: { body: 'to everyone' } });
  }
  for (const guest of guests) {
    const text = `to everyone from ${guest.userId}`;
    const sent = await guest.say(roomId, text);
    const expected = { content: { body: text }, decryption: { state: 'decrypted' } };
    expect(await received(inbox, sent)).toMatchObject(expected);
    for (const other of guests) expect(await other.readEvent(sent)).toMatchObject({ content: { body: text } });
  }
  return [alice, ...guests.map(({ userId }) => userId)].toSorted();
}

it(`gives the room keys of all to ${MANY} devices of one user that nobody signed`, { timeout: 600_000 }, async () => {
  const meeting = await meetAll();
  const { manager, alice, roomId, world } = meeting;
  const owner = await world.newUser();
  const devices = await inTurns(MANY, async () => publishKeys(await owner.logInAgain()));
  await bringIn(manager, alice, roomId, {
    userId: owner.userId,
    join: async () => void (await owner.join(roomId)),
  });
  const speakers = await everyoneSpeaks(meeting);
  const senders = await inTurns(MANY, (n) => sendersOfKeys(devices[n] as TestUser));
  expect(senders).toEqual(Array.from({ length: MANY }, () => speakers));
});

it(`gives the room keys of all to ${MANY} members`, { timeout: 600_000 }, async () => {
  const meeting = await meetAll();
  const { manager, alice, roomId, world } = meeting;
  await manager.withClient(alice, (client) =>
    client.sendStateEvent(roomId, 'm.room.join_rules' as never, { join_rule: 'public' } as never),
  );
  const members = await inTurns(MANY, async () => {
    const member = await publishKeys(await world.newUser());
    const { status } = await member.join(roomId);
    expect(status).toBe(200);
    return member;
  });
  const everyone = MANY + 1 + meeting.guests.length;
  await manager.withClient(alice, async (client) => {
    while (client.getRoom(roomId)?.getJoinedMemberCount() !== everyone) {
      await new Promise((resolve) => client.once('sync' as never, resolve as never));
    }
  });
  const speakers = await everyoneSpeaks(meeting);
  const senders = await inTurns(MANY, (n) => sendersOfKeys(members[n] as TestUser));
  expect(senders).toEqual(Array.from({ length: MANY }, () => speakers));
});
