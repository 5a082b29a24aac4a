import { describe, expect, it } from 'vitest';
import { FakeHomeserver } from '../../src/testing/fake-homeserver/fake-homeserver.js';
import { Deployment, encryptedRoom } from './support/encrypted-chats.js';
import { lyingHomeserver } from './support/lying-homeserver.js';

describe('a lying homeserver, fake,', () => {
  lyingHomeserver(it, expect, async () => new FakeHomeserver());

  it('by its own fault gets nothing readable', async () => {
    const fake = new FakeHomeserver();
    const deployment = new Deployment(fake);
    const manager = deployment.start();
    const alice = await deployment.user(manager);
    const roomId = await encryptedRoom(manager, [alice]);
    await manager.shutdown();
    fake.faults.hideEncryption({ roomId, userId: alice });
    await deployment.start().sendMessage({ userId: alice, roomId, text: 'top secret' });
    expect(fake.events(roomId).at(-1)?.type).toBe('m.room.encrypted');
    expect(JSON.stringify(fake.events(roomId))).not.toContain('top secret');
  });
});
