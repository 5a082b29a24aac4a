import { describe, expect, it } from 'vitest';
import { memoryStorage } from '../../src/index.js';
import type { ClientEvent, MatrixClientManager, UnreadEvent } from '../../src/index.js';
import { Recorder } from '../support/recorder.js';
import { rejection } from '../support/rejection.js';
import { managersOn } from './managers.js';
import type { Homeserver } from './managers.js';

/** Unread counts, the same on the fake homeserver and on a real one. */
export function unreadRooms(name: string, homeserver: () => Homeserver): void {
  describe(`unread counts on ${name}`, () => {
    const { makeManager, run } = managersOn(homeserver);
    let users = 0;

    async function setUp(slidingSync = true) {
      const storage = memoryStorage();
      const manager = makeManager({ storage, slidingSync });
      const make = async (): Promise<string> =>
        (await manager.provisionUser({ username: `unread-${++users}-${run}` })).userId;
      const [alice, bob] = [await make(), await make()];
      const newRoom = async (): Promise<string> => {
        const { roomId } = await manager.rooms.create({ userId: alice, invite: [bob] });
        await manager.rooms.join({ userId: bob, roomId });
        return roomId;
      };
      const say = async (roomId: string, text: string, mentions: readonly string[] = []): Promise<string> =>
        (await manager.sendMessage({ userId: alice, roomId, text, mentions: { userIds: mentions } })).eventId;
      return { manager, storage, alice, bob, newRoom, say };
    }

    const totals = async (manager: MatrixClientManager, userId: string) =>
      (await manager.unreadCounts([userId])).get(userId);
    const isUnread = (event: ClientEvent): event is UnreadEvent => event.type === 'unread';
    const numbersIn = (recorder: Recorder, roomId: string) =>
      recorder.events
        .filter((event) => isUnread(event))
        .filter((event) => event.roomId === roomId)
        .map(({ unread, highlights }) => `${unread}/${highlights}`);
    const unreadIs = (recorder: Recorder, roomId: string, numbers: string): Promise<void> =>
      recorder.until(() => numbersIn(recorder, roomId).at(-1) === numbers);

    it.each([true, false])(
      'are listed with their rooms, the newest activity first (sliding sync: %s)',
      async (sliding) => {
        const { manager, alice, bob, say } = await setUp(sliding);
        const { rooms } = manager;
        await manager.setDisplayName({ userId: alice, displayName: 'Alice' });
        const file = { body: Buffer.from('an image'), name: 'face.png', mimeType: 'image/png' };
        const avatar = await manager.uploadFile({ userId: alice, file });
        await manager.setAvatar({ userId: alice, avatarUrl: avatar.contentUri });
        const { roomId: direct } = await rooms.findOrCreateDirect({ userId: bob, otherUserId: alice });
        await rooms.join({ userId: alice, roomId: direct });
        const kitchen = { userId: alice, name: 'Kitchen', topic: 'Food', invite: [bob], encrypted: true };
        const { roomId: named } = await rooms.create(kitchen);
        await rooms.join({ userId: bob, roomId: named });
        const others: string[] = [];
        for (let index = 0; index < 3; index++) {
          const { roomId } = await rooms.create({ userId: bob, name: `Other ${index}` });
          await manager.sendMessage({ userId: bob, roomId, text: `other ${index}` });
          others.push(roomId);
        }
        const last = await say(direct, 'Hello Bob', [bob]);
        const { roomId: invited } = await rooms.create({ userId: alice, name: 'Cellar', invite: [bob] });

        const check = async (): Promise<void> => {
          const { rooms: list, next } = await manager.listRooms(bob);
          expect(next).toBeUndefined();
          expect(list.map(({ roomId }) => roomId)).toEqual([direct, ...others.toReversed(), named]);
          expect(list[0]).toMatchObject({
            name: 'Alice',
            avatarUrl: avatar.contentUri,
            isDirect: true,
            isEncrypted: false,
            membership: 'join',
            memberCount: 2,
            lastMessage: { type: 'message', eventId: last, senderName: 'Alice', text: 'Hello Bob' },
            unread: 1,
            highlights: 1,
          });
          expect(list[0]?.lastActivityAt).toBe(list[0]?.lastMessage?.timestamp);
          const { lastMessage, lastActivityAt, ...of } = list.at(-1) ?? {};
          expect([lastMessage, typeof lastActivityAt]).toEqual([undefined, 'number']);
          const nothing = { avatarUrl: undefined, isDirect: false, unread: 0, highlights: 0 };
          const shown = { roomId: named, name: 'Kitchen', topic: 'Food', isEncrypted: true, memberCount: 2 };
          expect(of).toEqual({ ...nothing, ...shown, membership: 'join' });
          const paged: string[] = [];
          for (let from: string | undefined; ;) {
            const page = await manager.listRooms(bob, { limit: 2, from });
            paged.push(...page.rooms.map(({ roomId }) => roomId));
            if ((from = page.next) === undefined) break;
          }
          expect(paged).toEqual(list.map(({ roomId }) => roomId));
          const { rooms: invites } = await manager.listRooms(bob, { membership: 'invite' });
          expect(invites).toMatchObject([{ roomId: invited, name: 'Cellar', membership: 'invite', unread: 0 }]);
        };
        await check();
        expect(manager.listClients()).toEqual([]);
        await manager.startClient({ userId: bob });
        await check();
        const { next } = await manager.listRooms(bob, { limit: 1 });
        expect(await rejection(manager.listRooms(alice, { from: next }))).toMatchObject({ code: 'INVALID_CURSOR' });
      },
    );

    it('are 0 in the list as soon as the user has read the room', async () => {
      const { manager, bob, newRoom, say } = await setUp();
      const roomId = await newRoom();
      await manager.startClient({ userId: bob });
      const recorder = new Recorder();
      manager.addCallback(bob, recorder.callback);
      const eventId = await say(roomId, 'read this');
      await recorder.message('read this');
      expect((await manager.listRooms(bob)).rooms).toMatchObject([{ roomId, unread: 1 }]);
      await manager.markRead({ userId: bob, roomId, eventId });
      expect((await manager.listRooms(bob)).rooms).toMatchObject([{ roomId, unread: 0 }]);
    });

    it('are those of all rooms, threads included, without a client', async () => {
      const { manager, alice, bob, newRoom, say } = await setUp();
      const [one, two] = [await newRoom(), await newRoom()];
      const root = await say(one, 'root');
      await manager.sendMessage({ userId: alice, roomId: one, text: 'in a thread', threadId: root });
      const last = await say(two, 'you', [bob]);
      expect(await totals(manager, bob)).toEqual({ unread: 3, highlights: 1, rooms: 2 });
      expect(await totals(manager, alice)).toEqual({ unread: 0, highlights: 0, rooms: 0 });
      await manager.markRead({ userId: bob, roomId: two, eventId: last });
      expect(await totals(manager, bob)).toEqual({ unread: 2, highlights: 0, rooms: 1 });
      expect(manager.listClients()).toEqual([]);
      const unknown = bob.replace('@', '@nobody-');
      const both = await manager.unreadCounts([unknown, bob, bob]);
      expect([...both.keys()]).toEqual([unknown, bob]);
      expect(both.get(unknown)?.error).toMatchObject({ code: 'CLIENT_NOT_STARTED' });
      expect(both.get(bob)).toMatchObject({ unread: 2 });
    });

    it.each([true, false])('are right after a first start (sliding sync: %s), and after a restart', async (sliding) => {
      const { manager, storage, bob, newRoom, say } = await setUp(sliding);
      const [one, two] = [await newRoom(), await newRoom()];
      await say(one, 'before');
      await say(two, 'before', [bob]);
      const recorder = new Recorder();
      const types = ['unread', 'message'];
      manager.addCallback(bob, recorder.callback, { types });
      await manager.startClient({ userId: bob });
      expect(await totals(manager, bob)).toEqual({ unread: 2, highlights: 1, rooms: 2 });
      await say(one, 'live');
      await unreadIs(recorder, one, '2/0');
      expect(await totals(manager, bob)).toEqual({ unread: 3, highlights: 1, rooms: 2 });
      await manager.stopClient(bob);
      const last = await say(one, 'missed');
      const next = makeManager({ storage });
      const later = new Recorder();
      next.addCallback(bob, later.callback, { types });
      await next.startClient({ userId: bob });
      await later.message('missed');
      await unreadIs(later, one, '3/0');
      expect(await totals(next, bob)).toEqual({ unread: 4, highlights: 1, rooms: 2 });
      const sdkCount = await next.withClient(bob, (client) => client.getRoom(two)?.getUnreadNotificationCount());
      expect(sdkCount).toBe(1);
      await next.markRead({ userId: bob, roomId: one, eventId: last });
      expect(await totals(next, bob)).toEqual({ unread: 1, highlights: 1, rooms: 1 });
      await unreadIs(later, one, '0/0');
      expect(numbersIn(later, one)).toEqual(['3/0', '0/0']);
      expect(numbersIn(later, two)).toEqual([]);
    });

    it('change with what the user reads on another device', async () => {
      const { manager, bob, newRoom, say } = await setUp();
      const roomId = await newRoom();
      const recorder = new Recorder();
      const all = new Recorder();
      manager.addCallback(bob, recorder.callback, { types: ['unread'] });
      await manager.startClient({ userId: bob, callbacks: [all.callback] });
      await say(roomId, 'one');
      const last = await say(roomId, 'two', [bob]);
      await unreadIs(recorder, roomId, '2/1');
      const other = await manager.openSession({ userId: bob });
      const path = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/receipt/m.read.private/${encodeURIComponent(last)}`;
      const { homeserverUrl } = homeserver();
      const headers = { authorization: `Bearer ${other.accessToken}` };
      await fetch(homeserverUrl + path, { method: 'POST', headers, body: '{}' });
      await unreadIs(recorder, roomId, '0/0');
      const numbers = numbersIn(recorder, roomId);
      expect(numbers).toEqual([...new Set(numbers)]);
      expect(all.events.filter((event) => isUnread(event))).toEqual([]);
    });
  });
}
