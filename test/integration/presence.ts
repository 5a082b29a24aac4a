import { describe, expect, it } from 'vitest';
import { memoryStorage } from '../../src/index.js';
import type { ClientEvent, PresenceEvent } from '../../src/index.js';
import { Recorder } from '../support/recorder.js';
import { managersOn } from './managers.js';
import type { Homeserver } from './managers.js';

/** Presence events, the same on the fake homeserver and on a real one. */
export function presenceEvents(name: string, homeserver: () => Homeserver): void {
  describe(`presence events on ${name}`, () => {
    const { makeManager, run } = managersOn(homeserver);
    const types = ['presence', 'message'];
    let users = 0;

    async function setUp() {
      const storage = memoryStorage();
      const manager = makeManager({ storage });
      const make = async (): Promise<string> =>
        (await manager.provisionUser({ username: `presence-${++users}-${run}` })).userId;
      const [alice, bob, stranger] = [await make(), await make(), await make()];
      const { roomId } = await manager.rooms.create({ userId: alice, invite: [bob] });
      await manager.rooms.join({ userId: bob, roomId });
      return { manager, storage, alice, bob, stranger, roomId };
    }

    const isPresence = (event: ClientEvent): event is PresenceEvent => event.type === 'presence';
    const statuses = (recorder: Recorder, sender: string) =>
      recorder.events
        .filter((event) => isPresence(event))
        .filter((event) => event.sender === sender)
        .map(({ statusMessage }) => statusMessage);
    const statusIs = (recorder: Recorder, sender: string, status: string): Promise<void> =>
      recorder.until(() => statuses(recorder, sender).at(-1) === status);

    it('tell of the users who share a room, and only to callbacks that ask for them', async () => {
      const { manager, alice, bob, stranger, roomId } = await setUp();
      await manager.setPresence({ userId: alice, presence: 'online', statusMessage: 'before' });
      const [recorder, ofAll, inRoom, others] = [new Recorder(), new Recorder(), new Recorder(), new Recorder()];
      manager.addCallback(bob, recorder.callback, { types });
      manager.addCallback(bob, inRoom.callback, { types, rooms: [roomId] });
      manager.addCallback(bob, others.callback);
      manager.onEvent(ofAll.callback, { types: ['presence'] });
      await manager.startClient({ userId: bob });
      await statusIs(recorder, alice, 'before');
      await manager.setPresence({ userId: stranger, presence: 'online', statusMessage: 'not for Bob' });
      const startedAt = Date.now();
      await manager.setPresence({ userId: alice, presence: 'unavailable', statusMessage: 'Lunch' });
      await Promise.all([statusIs(recorder, alice, 'Lunch'), statusIs(ofAll, alice, 'Lunch')]);
      const last = recorder.events.findLast(
        (event): event is PresenceEvent => isPresence(event) && event.statusMessage === 'Lunch',
      );
      const known = { type: 'presence', userId: bob, sender: alice, provenance: 'live' };
      expect(last).toMatchObject({ ...known, presence: 'unavailable', statusMessage: 'Lunch' });
      expect(last).not.toHaveProperty('roomId');
      expect(Math.abs((last?.lastActiveAt ?? startedAt) - startedAt)).toBeLessThan(60_000);
      await manager.sendMessage({ userId: alice, roomId, text: 'the end' });
      await Promise.all([recorder.message('the end'), inRoom.message('the end'), others.message('the end')]);
      expect(statuses(recorder, stranger)).toEqual([]);
      expect([...inRoom.events, ...others.events].filter((event) => isPresence(event))).toEqual([]);
    });

    it('begin when a callback asks for them, and go on after a restart', async () => {
      const { manager, storage, alice, bob } = await setUp();
      await manager.startClient({ userId: bob, callbacks: [() => {}] });
      const recorder = new Recorder();
      manager.addCallback(bob, recorder.callback, { types });
      await manager.setPresence({ userId: alice, presence: 'unavailable', statusMessage: 'here' });
      await statusIs(recorder, alice, 'here');
      await manager.stopClient(bob);
      await manager.setPresence({ userId: alice, presence: 'unavailable', statusMessage: 'passed' });
      await manager.setPresence({ userId: alice, presence: 'unavailable', statusMessage: 'missed' });
      const next = makeManager({ storage });
      const later = new Recorder();
      next.addCallback(bob, later.callback, { types });
      await next.startClient({ userId: bob });
      await statusIs(later, alice, 'missed');
      expect(statuses(later, alice)).not.toContain('passed');
    });
  });
}
