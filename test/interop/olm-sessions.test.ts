import { expect, inject, it } from 'vitest';
import { World } from '../../src/testing/contracts/homeserver/world.js';
import { replaceOlmSessions } from '../encryption/support/olm-sessions.js';
import { temporaryFolder } from '../storage/temporary-folder.js';
import { ForeignUser } from './support/foreign-user.js';
import { withEachForeignClient } from './support/meeting.js';
import { OwnUser } from './support/own-user.js';

/** Messages that are sent before the test gives up. At most two were lost where this was measured. */
const MOST = 6;

/** Our user and one with a foreign client, with an Olm session that both have used. */
async function acquaintances(name: Parameters<typeof ForeignUser.logIn>[0]) {
  const world = new World(inject('synapse'));
  const folder = temporaryFolder();
  const alice = await OwnUser.start(world, folder);
  const bob = await ForeignUser.logIn(name, world, folder);
  const roomId = await alice.createRoom(bob);
  for (const n of [1, 2]) {
    await alice.rotate(roomId);
    await bob.readEvent(await alice.say(roomId, `from Alice ${n}`));
    await bob.call('rotate', { roomId });
    await alice.received(await bob.say(roomId, `from Bob ${n}`));
  }
  /** Bob says things, each in a Megolm session of its own, until Alice can read one. @returns how many she could not */
  const lostFromBob = async (): Promise<number> => {
    for (let n = 0; n < MOST; n++) {
      await bob.call('rotate', { roomId });
      const { failure } = await alice.received(await bob.say(roomId, `from Bob, after the loss ${n}`));
      if (failure === undefined) return n;
    }
    return MOST;
  };
  /** Alice says things, all in one Megolm session, until Bob can read one. */
  const lostFromAlice = async (): Promise<number> => {
    await alice.rotate(roomId);
    for (let n = 0; n < MOST; n++) {
      const eventId = await alice.say(roomId, `from Alice, after the loss ${n}`);
      const seen = await bob.first((event) => event.eventId === eventId);
      if (seen.failure === undefined) return n;
    }
    return MOST;
  };
  return { alice, bob, roomId, lostFromBob, lostFromAlice };
}

withEachForeignClient((name) => {
  it('is read by ours again after ours has lost its Olm sessions', async () => {
    const { alice, lostFromBob, lostFromAlice } = await acquaintances(name);
    const { userId, deviceId, keysPath } = alice;
    await alice.kill();
    expect(await replaceOlmSessions(keysPath, { userId, deviceId })).toBeGreaterThan(0);
    await alice.start();
    // The key of one Megolm session is lost: it came in the Olm session that ours has no more.
    expect(await lostFromBob()).toBeLessThan(MOST);
    expect(await lostFromAlice()).toBe(0);
  });

  it('reads ours again after it has lost its Olm sessions', async () => {
    const { bob, lostFromBob, lostFromAlice } = await acquaintances(name);
    await bob.call('wipeSessions');
    await bob.kill();
    await bob.start();
    expect(await lostFromAlice()).toBeLessThan(MOST);
    expect(await lostFromBob()).toBe(0);
  });
});
