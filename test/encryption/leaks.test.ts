import { describe, expect, it } from 'vitest';
import { FakeHomeserver } from '../../src/testing/fake-homeserver/fake-homeserver.js';
import { comingsAndGoings, watchTimers } from './support/comings-and-goings.js';
import { Door } from './support/door.js';
import { Deployment } from './support/encrypted-chats.js';

describe('clients with encryption that come and go', () => {
  comingsAndGoings(it, expect, { rounds: 30, target: async () => new FakeHomeserver() });

  it('leave no timer behind when they end while their requests fail', async () => {
    const timers = watchTimers();
    const door = new Door(new FakeHomeserver());
    const deployment = new Deployment(door.target);
    const manager = deployment.start();
    const userId = await deployment.user(manager);
    const failed = new Promise<void>((resolve) => {
      door.guard(({ name }) => {
        if (!name.endsWith('/keys/upload')) return undefined;
        resolve();
        return Response.json({ errcode: 'M_UNKNOWN', error: 'Internal server error' }, { status: 500 });
      });
    });
    const starting = manager.startClient({ userId }).catch(() => {});
    await failed;
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    await manager.shutdown();
    await starting;
    expect(timers()).toBe(0);
  });
});
