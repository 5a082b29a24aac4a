import { describe, expect, it } from 'vitest';
import { memoryStorage } from '../../src/index.js';
import { Recorder } from '../support/recorder.js';
import { managersOn } from './managers.js';
import type { Homeserver } from './managers.js';

/** What callbacks for all users promise, the same on the fake homeserver and on a real one. */
export function managerCallbacks(name: string, homeserver: () => Homeserver): void {
  describe(`a callback for all users on ${name}`, () => {
    const { makeManager, run } = managersOn(homeserver);

    it('gets the messages of each user who has a client, and after a restart what was missed', async () => {
      const got = new Recorder();
      const options = { storage: memoryStorage(), callbacks: [{ callback: got.callback, types: ['message'] }] };
      const manager = makeManager(options);
      const [alice, carol] = await Promise.all(
        ['hub-alice', 'hub-carol'].map((username) => manager.provisionUser({ username: `${username}-${run}` })),
      );
      const [userId = '', otherId = ''] = [alice?.userId, carol?.userId];
      await Promise.all([manager.startClient({ userId }), manager.startClient({ userId: otherId })]);
      const { roomId } = await manager.rooms.create({ userId, invite: [otherId] });
      await manager.rooms.join({ userId: otherId, roomId });
      await manager.sendMessage({ userId, roomId, text: 'to both' });
      const bothGot = (body: string) =>
        got.until((events) => {
          const of = events.filter((event) => event.type === 'message' && event.content.body === body);
          return new Set(of.map((event) => event.userId)).size === 2;
        });
      await bothGot('to both');
      await manager.shutdown();
      const next = makeManager(options);
      await next.sendMessage({ userId, roomId, text: 'missed' });
      expect(next.hasClient(userId)).toBe(false);
      await Promise.all([next.startClient({ userId }), next.startClient({ userId: otherId })]);
      await bothGot('missed');
      for (const user of [userId, otherId]) {
        const bodies = got.events.flatMap((event) =>
          event.type === 'message' && event.userId === user ? [event.content.body] : [],
        );
        expect(bodies).toEqual(['to both', 'missed']);
      }
    });

    it('with `once` gets each message once, also those that a user brings later, and after a restart', async () => {
      const got = new Recorder();
      const once = { callback: got.callback, types: ['message'], once: true };
      const options = { storage: memoryStorage(), callbacks: [once] };
      const manager = makeManager(options);
      const users = await Promise.all(
        ['once-alice', 'once-bob', 'once-carol'].map((name) => manager.provisionUser({ username: `${name}-${run}` })),
      );
      const [userId = '', ...others] = users.map((user) => user.userId);
      const [late = ''] = others;
      await Promise.all([userId, ...others].map((each) => manager.startClient({ userId: each })));
      const { roomId } = await manager.rooms.create({ userId, invite: others });
      await Promise.all(others.map((each) => manager.rooms.join({ userId: each, roomId })));
      await manager.sendMessage({ userId, roomId, text: 'for all' });
      await got.message('for all');
      await manager.stopClient(late);
      await manager.sendMessage({ userId, roomId, text: 'while one is away' });
      await got.message('while one is away');
      const own = new Recorder();
      manager.addCallback(late, own.callback, { types: ['message'] });
      await manager.startClient({ userId: late });
      await own.message('while one is away');
      await manager.sendMessage({ userId, roomId, text: 'after' });
      await got.message('after');
      await manager.shutdown();
      const next = makeManager(options);
      await next.sendMessage({ userId, roomId, text: 'while down' });
      await Promise.all([userId, ...others].map((each) => next.startClient({ userId: each })));
      await next.sendMessage({ userId, roomId, text: 'last' });
      await got.message('last');
      await next.shutdown();
      expect(got.bodies()).toEqual(['for all', 'while one is away', 'after', 'while down', 'last']);
    });
  });
}
