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
  });
}
