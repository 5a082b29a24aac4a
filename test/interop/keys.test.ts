import { expect, it } from 'vitest';
import type { World } from '../../src/testing/contracts/homeserver/world.js';
import { meet, rawEvent, received, withEachForeignClient } from './support/meeting.js';

interface ClaimedKeys {
  readonly one_time_keys: Readonly<Record<string, Readonly<Record<string, Readonly<Record<string, object>>>>>>;
}

/** Claims one-time keys of a device until it has none left, or gives its fallback key. */
async function exhaustKeys(world: World, userId: string, deviceId: string): Promise<{ fallback: boolean }> {
  const claimant = await world.newUser();
  for (;;) {
    const claim = { one_time_keys: { [userId]: { [deviceId]: 'signed_curve25519' } } };
    const { body } = await claimant.http.post<ClaimedKeys>('/_matrix/client/v3/keys/claim', claim);
    const [key] = Object.values(body.one_time_keys[userId]?.[deviceId] ?? {});
    if (key === undefined) return { fallback: false };
    if ('fallback' in key) return { fallback: true };
  }
}

withEachForeignClient((name) => {
  it('gets no key of ours while its one-time keys are used up, and gets those of later messages', async () => {
    const { deployment, manager, alice, bob, roomId, inbox, say } = await meet(name);
    await bob.kill();
    expect(await exhaustKeys(deployment.world, bob.userId, bob.deviceId)).toEqual({ fallback: false });
    const lost = await say('while there are no keys');
    await bob.start();
    await received(inbox, await bob.say(roomId, 'here are new ones'));
    expect(await bob.readEvent(await say('with new keys'))).toMatchObject({ content: { body: 'with new keys' } });
    const sealed = await rawEvent(manager, alice, roomId, lost);
    await expect(bob.call('decrypt', { event: sealed })).rejects.toThrow(/session/i);
  });

  it('reaches ours by the fallback key while our one-time keys are used up', async () => {
    const { deployment, manager, alice, bob, roomId, inbox, say } = await meet(name);
    const deviceId = manager.clientInfo(alice)?.deviceId ?? '';
    await manager.stopClient(alice);
    expect(await exhaustKeys(deployment.world, alice, deviceId)).toEqual({ fallback: true });
    const sent = await bob.say(roomId, 'by the fallback key');
    await manager.startClient({ userId: alice });
    expect(await received(inbox, sent)).toMatchObject({
      decryption: { state: 'decrypted' },
      content: { body: 'by the fallback key' },
    });
    await bob.readEvent(await say('in the same Olm session'));
  });

  it('comes back to ours after it has lost its Olm sessions, when it speaks first', async () => {
    const { bob, roomId, inbox, say, rotate } = await meet(name);
    await bob.readEvent(await say('before'));
    await received(inbox, await bob.say(roomId, 'before, from Bob'));
    await bob.call('wipeSessions');
    await bob.kill();
    await bob.start();
    await bob.call('rotate', { roomId });
    expect(await received(inbox, await bob.say(roomId, 'in a new Olm session'))).toMatchObject({
      decryption: { state: 'decrypted' },
      content: { body: 'in a new Olm session' },
    });
    await rotate();
    const answer = await say('in that session, too');
    expect(await bob.readEvent(answer)).toMatchObject({ content: { body: 'in that session, too' } });
  });

  it('comes back to ours after it has lost its Olm sessions, when ours speaks first', async () => {
    const { manager, alice, bob, roomId, inbox, say, rotate } = await meet(name);
    await bob.readEvent(await say('before'));
    await received(inbox, await bob.say(roomId, 'before, from Bob'));
    await bob.call('wipeSessions');
    await bob.kill();
    await bob.start();
    await rotate();
    const lost = await rawEvent(manager, alice, roomId, await say('in the old Olm session'));
    await expect(bob.call('decrypt', { event: lost })).rejects.toThrow(/session/i);
    // Its device asks for a new session with an m.dummy, after which the next room key can be read.
    const reads = async (): Promise<unknown> => {
      await rotate();
      const event = await rawEvent(manager, alice, roomId, await say('once more'));
      return bob.call('decrypt', { event }).then(
        () => 'read',
        () => 'not read',
      );
    };
    await expect.poll(reads, { timeout: 60_000, interval: 1_000 }).toBe('read');
  });
});
