import { describe, expect, it } from 'vitest';
import type { MatrixClientManager } from '../../src/index.js';
import { Recorder } from '../support/recorder.js';
import { rejection } from '../support/rejection.js';
import { managersOn } from './managers.js';
import type { Homeserver } from './managers.js';

/** `manager.rooms`, the same on the fake homeserver and on a real one. */
export function roomCalls(name: string, homeserver: () => Homeserver): void {
  describe(`rooms on ${name}`, () => {
    const { makeManager, run } = managersOn(homeserver);
    let users = 0;

    async function makeUsers(manager: MatrixClientManager, count: number): Promise<string[]> {
      const make = (): Promise<{ userId: string }> =>
        manager.provisionUser({ username: `room-user-${++users}-${run}`, displayName: `User ${users}` });
      const made: string[] = [];
      for (let n = 0; n < count; n++) made.push((await make()).userId);
      return made;
    }

    async function setUp(count = 2) {
      const manager = makeManager();
      const [alice = '', bob = '', carol = ''] = await makeUsers(manager, count);
      return { manager, rooms: manager.rooms, alice, bob, carol };
    }

    const memberIds = async (manager: MatrixClientManager, userId: string, roomId: string, membership?: 'invite') =>
      (await manager.rooms.members({ userId, roomId, membership })).members.map((member) => member.userId);

    it('are created as asked', async () => {
      const { manager, rooms, alice, bob } = await setUp();
      const { roomId } = await rooms.create({
        userId: alice,
        name: 'Kitchen',
        topic: 'Food',
        preset: 'public_chat',
        alias: `kitchen-${run}`,
        invite: [bob, bob, alice],
        powerLevels: { events: { 'm.room.topic': 0 }, users: { [bob]: 50 } },
        direct: false,
        initialState: [{ type: 'org.example.mood', stateKey: 'today', content: { good: true } }],
      });
      expect(await rooms.getState({ userId: alice, roomId, type: 'm.room.name' })).toEqual({ name: 'Kitchen' });
      expect(await rooms.getState({ userId: alice, roomId, type: 'm.room.topic' })).toMatchObject({ topic: 'Food' });
      const mood = { userId: alice, roomId, type: 'org.example.mood', stateKey: 'today' };
      expect(await rooms.getState(mood)).toEqual({ good: true });
      expect(await memberIds(manager, alice, roomId, 'invite')).toEqual([bob]);
      const levels = await rooms.getState({ userId: alice, roomId, type: 'm.room.power_levels' });
      expect(levels).toMatchObject({ users: { [alice]: 100, [bob]: 50 }, events: { 'm.room.topic': 0 } });
      const alias = `#kitchen-${run}:${serverOf(alice)}`;
      expect(await rooms.resolveAlias({ userId: bob, alias })).toMatchObject({ roomId });
      const again = rooms.create({ userId: alice, alias });
      expect(await rejection(again)).toMatchObject({ code: 'REJECTED', errcode: 'M_ROOM_IN_USE' });
      const all = await rooms.getState({ userId: alice, roomId });
      expect(all.map(({ type }) => type)).toContain('m.room.create');
      expect(manager.listClients()).toEqual([]);
    });

    it('of version 12 never list their creators', async () => {
      const { manager, rooms, alice, bob, carol } = await setUp(3);
      const { roomId } = await rooms.create({
        userId: alice,
        preset: 'trusted_private_chat',
        invite: [bob],
        roomVersion: '12',
        powerLevels: { users: { [alice]: 100, [bob]: 100, [carol]: 50 } },
      });
      await rooms.join({ userId: bob, roomId });
      const of = { userId: alice, roomId, type: 'm.room.power_levels' };
      expect((await rooms.getState(of)).users).toEqual({ [carol]: 50 });
      await rooms.setPowerLevels({
        userId: bob,
        roomId,
        powerLevels: { users: { [alice]: 100, [carol]: 25 }, ban: 75 },
      });
      expect(await rooms.getState(of)).toMatchObject({ users: { [carol]: 25 }, ban: 75, kick: 50 });
      await rooms.setPowerLevels({ userId: alice, roomId, powerLevels: { users: { [carol]: null } } });
      expect((await rooms.getState(of)).users).toEqual({});
      const { members } = await manager.rooms.members({ userId: alice, roomId });
      expect(members).toMatchObject(
        [alice, bob].toSorted().map((userId) => ({ userId, isCreator: true, powerLevel: Infinity })),
      );
    });

    it('of version 11 list them', async () => {
      const { rooms, alice, bob, carol } = await setUp(3);
      const { roomId } = await rooms.create({
        userId: alice,
        preset: 'trusted_private_chat',
        invite: [bob],
        roomVersion: '11',
        powerLevels: { users: { [carol]: 20 } },
      });
      const of = { userId: alice, roomId, type: 'm.room.power_levels' };
      expect((await rooms.getState(of)).users).toEqual({ [alice]: 100, [bob]: 100, [carol]: 20 });
      await rooms.setPowerLevels({ userId: alice, roomId, powerLevels: { users: { [carol]: 10 }, events_default: 5 } });
      expect(await rooms.getState(of)).toMatchObject({ users: { [alice]: 100, [carol]: 10 }, events_default: 5 });
      const lowered = rooms.setPowerLevels({ userId: alice, roomId, powerLevels: { users: { [bob]: 50 } } });
      expect(await rejection(lowered)).toMatchObject({ code: 'FORBIDDEN' });
    });

    it('have members, who come and go, and what is so already is a success', async () => {
      const { manager, rooms, alice, bob, carol } = await setUp(3);
      const { roomId } = await rooms.create({ userId: alice });
      const target = { userId: alice, roomId, targetUserId: bob };
      for (let twice = 0; twice < 2; twice++) await rooms.invite(target);
      for (let twice = 0; twice < 2; twice++) expect(await rooms.join({ userId: bob, roomId })).toEqual({ roomId });
      await rooms.invite(target);
      expect(await memberIds(manager, bob, roomId)).toEqual([alice, bob].toSorted());
      for (let twice = 0; twice < 2; twice++) await rooms.kick({ ...target, reason: 'enough' });
      await rooms.kick({ ...target, targetUserId: carol });
      const member = { userId: alice, roomId, type: 'm.room.member', stateKey: bob };
      expect(await rooms.getState(member)).toMatchObject({ membership: 'leave', reason: 'enough' });
      for (let twice = 0; twice < 2; twice++) await rooms.ban(target);
      expect(await rejection(rooms.invite(target))).toMatchObject({ code: 'FORBIDDEN', roomId });
      await rooms.leave({ userId: bob, roomId });
      for (let twice = 0; twice < 2; twice++) await rooms.unban(target);
      await rooms.unban({ ...target, targetUserId: carol });
      await rooms.invite(target);
      for (let twice = 0; twice < 2; twice++) await rooms.leave({ userId: bob, roomId });
      for (let twice = 0; twice < 2; twice++) await rooms.forget({ userId: bob, roomId });
      expect(await rejection(rooms.forget({ userId: alice, roomId }))).toMatchObject({ code: 'REJECTED' });
      expect(manager.listClients()).toEqual([]);
    });

    it('refuse what is not allowed or not there, and never with an empty result', async () => {
      const { rooms, alice, bob, carol } = await setUp(3);
      const { roomId } = await rooms.create({ userId: alice, invite: [carol] });
      await rooms.join({ userId: carol, roomId });
      const nowhere = `!nowhere:${serverOf(alice)}`;
      const forbidden = [
        () => rooms.join({ userId: bob, roomId }),
        () => rooms.knock({ userId: bob, roomId }),
        () => rooms.members({ userId: bob, roomId }),
        () => rooms.members({ userId: bob, roomId: nowhere }),
        () => rooms.getState({ userId: bob, roomId }),
        () => rooms.getState({ userId: bob, roomId, type: 'm.room.name' }),
        () => rooms.setState({ userId: carol, roomId, type: 'm.room.name', content: { name: 'x' } }),
        () => rooms.setPowerLevels({ userId: carol, roomId, powerLevels: { ban: 0 } }),
        () => rooms.kick({ userId: carol, roomId, targetUserId: alice }),
        () => rooms.ban({ userId: carol, roomId, targetUserId: alice }),
        () => rooms.invite({ userId: bob, roomId, targetUserId: bob }),
        () => rooms.setAlias({ userId: bob, roomId, alias: `#mine-${run}:${serverOf(alice)}` }),
        () => rooms.upgrade({ userId: carol, roomId, version: '12' }),
        () => rooms.ensureMember({ userIds: [bob], roomId: nowhere, by: alice }),
      ];
      for (const call of forbidden) expect(await rejection(call())).toMatchObject({ code: 'FORBIDDEN' });
      const missing = [
        () => rooms.join({ userId: bob, roomId: nowhere }),
        () => rooms.join({ userId: bob, roomId: `#nowhere-${run}:${serverOf(alice)}` }),
        () => rooms.leave({ userId: bob, roomId: nowhere }),
        () => rooms.getState({ userId: alice, roomId, type: 'm.room.name' }),
        () => rooms.resolveAlias({ userId: alice, alias: `#nowhere-${run}:${serverOf(alice)}` }),
      ];
      for (const call of missing) expect(await rejection(call())).toMatchObject({ code: 'NOT_FOUND' });
    });

    it('tell a user who has left nothing that counts', async () => {
      const { rooms, alice, bob, carol } = await setUp(3);
      const { roomId } = await rooms.create({ userId: alice, powerLevels: { users: { [bob]: 100 } } });
      await rooms.ensureMember({ roomId, userIds: [bob, carol], by: alice });
      const target = { userId: alice, roomId, targetUserId: carol };
      const byBob = { ...target, userId: bob };
      await rooms.leave({ userId: bob, roomId });
      await rooms.leave({ userId: bob, roomId });
      await rooms.kick(target);
      expect(await rejection(rooms.invite(byBob))).toMatchObject({ code: 'FORBIDDEN' });
      const ensured = rooms.ensureMember({ roomId, userId: carol, by: bob });
      expect(await rejection(ensured)).toMatchObject({ code: 'FORBIDDEN' });
      await rooms.ban(target);
      expect(await rejection(rooms.unban(byBob))).toMatchObject({ code: 'FORBIDDEN' });
    });

    it('are knocked on', async () => {
      const { rooms, alice, bob } = await setUp();
      const initialState = [{ type: 'm.room.join_rules', content: { join_rule: 'knock' } }];
      const { roomId } = await rooms.create({ userId: alice, initialState });
      for (let twice = 0; twice < 2; twice++) {
        expect(await rooms.knock({ userId: bob, roomId, reason: 'please' })).toEqual({ roomId });
      }
      const { members } = await rooms.members({ userId: alice, roomId, membership: 'knock' });
      expect(members).toMatchObject([{ userId: bob, membership: 'knock' }]);
      await rooms.invite({ userId: alice, roomId, targetUserId: bob });
      await rooms.join({ userId: bob, roomId });
      expect(await rooms.knock({ userId: bob, roomId })).toEqual({ roomId });
    });

    it('show their members page by page', async () => {
      const { manager, rooms, alice, bob, carol } = await setUp(3);
      const { roomId } = await rooms.create({ userId: alice, invite: [bob, carol] });
      for (const userId of [bob, carol]) await rooms.join({ userId, roomId });
      const seen: string[] = [];
      let next: string | undefined;
      do {
        const page = await rooms.members({ userId: bob, roomId, limit: 2, from: next });
        expect(page.total).toBe(3);
        seen.push(...page.members.map(({ userId, displayName }) => `${userId} ${displayName}`));
        ({ next } = page);
      } while (next !== undefined);
      const names = [alice, bob, carol].toSorted();
      expect(seen.map((member) => member.split(' ')[0])).toEqual(names);
      expect(seen.every((member) => / User \d+$/.test(member))).toBe(true);
      const { members } = await rooms.members({ userId: bob, roomId });
      expect(members.find(({ userId }) => userId === alice)).toMatchObject({ powerLevel: 100, isCreator: true });
      expect(members.find(({ userId }) => userId === bob)).toMatchObject({ powerLevel: 0, isCreator: false });
      expect(manager.listClients()).toEqual([]);
    });

    it('get the members that they are to have', async () => {
      const { manager, rooms, alice, bob, carol } = await setUp(3);
      const [dave = '', erin = ''] = await makeUsers(manager, 2);
      const { roomId } = await rooms.create({ userId: alice, invite: [bob] });
      await rooms.ban({ userId: alice, roomId, targetUserId: erin });
      const stranger = `@stranger-${run}:${serverOf(alice)}`;
      const userIds = [alice, bob, carol, dave, erin, stranger, carol];
      const results = await rooms.ensureMember({ userIds, roomId, by: alice });
      expect(results).toMatchObject([
        { userId: alice, status: 'already' },
        { userId: bob, status: 'joined' },
        { userId: carol, status: 'joined' },
        { userId: dave, status: 'joined' },
        { userId: erin, status: 'failed', error: { code: 'FORBIDDEN' } },
        { userId: stranger, status: 'failed', error: { code: 'CLIENT_NOT_STARTED' } },
      ]);
      expect(await memberIds(manager, alice, roomId)).toEqual([alice, bob, carol, dave].toSorted());
      expect(await rooms.ensureMember({ userId: dave, roomId, by: alice })).toEqual({
        userId: dave,
        status: 'already',
      });
      const failed = rooms.ensureMember({ userId: erin, roomId, by: alice });
      expect(await rejection(failed)).toMatchObject({ code: 'FORBIDDEN' });
      const open = await rooms.create({ actor: 'admin', preset: 'public_chat' });
      expect(await rooms.ensureMember({ userId: erin, roomId: open.roomId })).toEqual({
        userId: erin,
        status: 'joined',
      });
      expect(manager.listClients()).toEqual([]);
    });

    it('have aliases', async () => {
      const { rooms, alice, bob } = await setUp();
      const { roomId } = await rooms.create({ userId: alice });
      const other = await rooms.create({ userId: alice });
      const alias = `#lobby-${run}:${serverOf(alice)}`;
      for (let twice = 0; twice < 2; twice++) await rooms.setAlias({ userId: alice, roomId, alias });
      expect(await rooms.resolveAlias({ userId: bob, alias })).toMatchObject({ roomId });
      const taken = rooms.setAlias({ userId: alice, roomId: other.roomId, alias });
      expect(await rejection(taken)).toMatchObject({ code: 'REJECTED' });
      expect(await rejection(rooms.removeAlias({ userId: bob, alias }))).toMatchObject({ code: 'FORBIDDEN' });
      for (let twice = 0; twice < 2; twice++) await rooms.removeAlias({ userId: alice, alias });
      expect(await rejection(rooms.resolveAlias({ userId: bob, alias }))).toMatchObject({ code: 'NOT_FOUND' });
      await rooms.setAlias({ actor: 'admin', roomId, alias });
      await rooms.invite({ userId: alice, roomId, targetUserId: bob });
      expect(await rooms.join({ userId: bob, roomId: alias })).toEqual({ roomId });
    });

    it('are one for two users, whoever asks and however often', async () => {
      const { manager, rooms, alice, bob } = await setUp();
      const ask = (userId: string, otherUserId: string) => rooms.findOrCreateDirect({ userId, otherUserId });
      const answers = await Promise.all([ask(alice, bob), ask(bob, alice), ask(alice, bob), ask(bob, alice)]);
      expect(new Set(answers.map(({ roomId }) => roomId)).size).toBe(1);
      expect(answers.filter(({ created }) => created)).toHaveLength(1);
      const [{ roomId }] = answers;
      expect(await memberIds(manager, alice, roomId)).toEqual([alice, bob].toSorted());
      const direct = (userId: string) => {
        const path = '/_matrix/client/v3/user/{userId}/account_data/{type}';
        return manager.request({ userId, method: 'GET', path, pathParams: { userId, type: 'm.direct' } });
      };
      expect(await direct(alice)).toEqual({ [bob]: [roomId] });
      expect(await direct(bob)).toEqual({ [alice]: [roomId] });
      const other = makeManager();
      await other.provisionUser({ username: alice.slice(1, alice.indexOf(':')) });
      expect(await other.rooms.findOrCreateDirect({ userId: alice, otherUserId: bob })).toEqual({
        roomId,
        created: false,
      });
      await rooms.leave({ userId: bob, roomId });
      const next = await ask(alice, bob);
      expect(next).toMatchObject({ created: true });
      expect(await ask(bob, alice)).toEqual({ roomId: next.roomId, created: false });
      const { roomId: upgraded } = await rooms.upgrade({ userId: alice, roomId: next.roomId, version: '12' });
      expect((await ask(alice, bob)).roomId).not.toBe(next.roomId);
      expect(upgraded).not.toBe(next.roomId);
      expect(manager.listClients()).toEqual([]);
    });

    it('are upgraded once', async () => {
      const { rooms, alice } = await setUp(1);
      const { roomId } = await rooms.create({ userId: alice, name: 'Old', roomVersion: '11', encrypted: true });
      const upgraded = await rooms.upgrade({ userId: alice, roomId, version: '12' });
      expect(await rooms.upgrade({ userId: alice, roomId, version: '12' })).toEqual(upgraded);
      const of = { userId: alice, roomId: upgraded.roomId };
      expect(await rooms.getState({ ...of, type: 'm.room.name' })).toEqual({ name: 'Old' });
      expect(await rooms.getState({ ...of, type: 'm.room.encryption' })).toMatchObject({
        algorithm: 'm.megolm.v1.aes-sha2',
      });
      const wrong = rooms.upgrade({ userId: alice, roomId: upgraded.roomId, version: 'none' });
      expect(await rejection(wrong)).toMatchObject({ code: 'REJECTED' });
    });

    it('that were made encrypted stay encrypted', async () => {
      const { manager, rooms, alice } = await setUp(1);
      const clear = (roomId: string) => manager.sendMessage({ userId: alice, roomId, text: 'secret' });
      const { roomId } = await rooms.create({ userId: alice, encrypted: true });
      expect(await rejection(clear(roomId))).toMatchObject({ code: 'ENCRYPTION_UNAVAILABLE' });
      const later = await rooms.create({ userId: alice });
      await clear(later.roomId);
      const content = { algorithm: 'm.megolm.v1.aes-sha2' };
      await rooms.setState({ userId: alice, roomId: later.roomId, type: 'm.room.encryption', content });
      expect(await rejection(clear(later.roomId))).toMatchObject({ code: 'ENCRYPTION_UNAVAILABLE' });
    });

    it('are deleted, and the end is waited for', async () => {
      const { rooms, alice, bob } = await setUp();
      const { roomId } = await rooms.create({ userId: alice, invite: [bob] });
      await rooms.join({ userId: bob, roomId });
      const seen: string[] = [];
      const [deleted, same] = await Promise.all([
        rooms.delete({ roomId, onProgress: ({ status }) => void seen.push(status) }),
        rooms.delete({ roomId }),
      ]);
      expect(deleted).toMatchObject({ status: 'complete', failedToKickUsers: [] });
      expect([...deleted.kickedUsers, ...same.kickedUsers]).toEqual(expect.arrayContaining([alice, bob]));
      expect(seen.at(-1)).toBe('complete');
      expect(await rejection(rooms.members({ userId: alice, roomId }))).toMatchObject({ code: 'FORBIDDEN' });
      expect(await rooms.delete({ roomId })).toMatchObject({ status: 'complete', kickedUsers: [] });
    });

    it('reach a live client by its sync', async () => {
      const { manager, rooms, alice, bob } = await setUp();
      const recorder = new Recorder();
      await manager.startClient({ userId: bob, callbacks: [recorder.callback] });
      const { roomId } = await rooms.create({ userId: alice, invite: [bob] });
      await rooms.join({ userId: bob, roomId });
      await rooms.setState({ userId: alice, roomId, type: 'm.room.topic', content: { topic: 'Live' } });
      const { eventId } = await manager.sendMessage({ userId: alice, roomId, text: 'hello' });
      await recorder.until((events) => events.some((event) => 'eventId' in event && event.eventId === eventId));
      await rooms.kick({ userId: alice, roomId, targetUserId: bob });
      await recorder.until((events) =>
        events.some((event) => event.type === 'membership' && event.content.membership === 'leave'),
      );
      expect(manager.clientInfo(bob)).toMatchObject({ state: 'live' });
      expect(manager.hasClient(alice)).toBe(false);
    });
  });
}

function serverOf(userId: string): string {
  return userId.slice(userId.indexOf(':') + 1);
}
