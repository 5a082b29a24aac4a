import { describe, expect, it } from 'vitest';
import type { MatrixClientManager } from '../../src/index.js';
import { rejection } from '../support/rejection.js';
import { managersOn } from './managers.js';
import type { Homeserver } from './managers.js';

/** Profiles, presence, account data, tags, ignored users and further sessions: the same on the fake homeserver and a real one. */
export function personalData(name: string, homeserver: () => Homeserver): void {
  describe(`what belongs to a user on ${name}`, () => {
    const { makeManager, run } = managersOn(homeserver);
    let users = 0;

    async function provision(manager: MatrixClientManager, count: number): Promise<string[]> {
      const made: string[] = [];
      for (let index = 0; index < count; index++) {
        made.push((await manager.provisionUser({ username: `p${++users}-${run}` })).userId);
      }
      return made;
    }

    /** A room of these users; its id. */
    async function room(manager: MatrixClientManager, [creator = '', ...others]: readonly string[]): Promise<string> {
      const created = { userId: creator, method: 'POST', path: '/_matrix/client/v3/createRoom' } as const;
      const body = { preset: 'private_chat', invite: others };
      const { room_id: roomId } = (await manager.request({ ...created, body })) as { room_id: string };
      const join = { method: 'POST', path: '/_matrix/client/v3/rooms/{roomId}/join', pathParams: { roomId } } as const;
      for (const userId of others) await manager.request({ ...join, userId });
      return roomId;
    }

    it('the profile is changed as the user, and seen by others at once; no client is started', async () => {
      const manager = makeManager();
      const [alice = '', bob = ''] = await provision(manager, 2);
      await manager.setDisplayName({ userId: alice, displayName: 'Alice' });
      expect(await manager.getProfile({ userId: bob, targetUserId: alice })).toEqual({
        userId: alice,
        displayName: 'Alice',
        avatarUrl: undefined,
      });
      const file = { body: Buffer.from('an image'), name: 'face.png', mimeType: 'image/png' };
      const { contentUri } = await manager.uploadFile({ userId: alice, file });
      expect(contentUri).toMatch(/^mxc:/);
      await manager.setAvatar({ userId: alice, avatarUrl: contentUri });
      expect(await manager.getProfile({ userId: bob, targetUserId: alice })).toMatchObject({ avatarUrl: contentUri });
      const downloaded = await manager.downloadFile({ userId: bob, content: { url: contentUri, body: 'face.png' } });
      expect((await downloaded.buffer()).toString()).toBe('an image');
      await manager.setAvatar({ userId: alice, avatarUrl: null });
      await manager.setDisplayName({ userId: alice, displayName: 'A.' });
      expect(await manager.getProfile({ userId: alice })).toEqual({
        userId: alice,
        displayName: 'A.',
        avatarUrl: undefined,
      });
      const nobody = manager.getProfile({ userId: alice, targetUserId: `@nobody-${alice.slice(1)}` });
      expect(await rejection(nobody)).toMatchObject({ code: 'NOT_FOUND' });
      expect(manager.listClients()).toEqual([]);
    });

    it('presence is set and read', async () => {
      const manager = makeManager();
      const users = await provision(manager, 2);
      const [alice = '', bob = ''] = users;
      await room(manager, users);
      await manager.setPresence({ userId: alice, presence: 'unavailable', statusMessage: 'Lunch' });
      const seen = await manager.getPresence({ userId: bob, targetUserId: alice });
      expect(seen.userId).toBe(alice);
      expect(['unavailable', 'offline']).toContain(seen.presence); // everybody is offline where presence is off
    });

    it('account data and tags are stored, globally and per room', async () => {
      const manager = makeManager();
      const [userId = ''] = await provision(manager, 1);
      const roomId = await room(manager, [userId]);
      const type = 'org.example/settings';
      const missing = { code: 'NOT_FOUND', status: 404 };
      expect(await rejection(manager.getAccountData({ userId, type }))).toMatchObject(missing);
      await manager.setAccountData({ userId, type, content: { dark: true, zoom: 1.5 } });
      expect(await manager.getAccountData({ userId, type })).toEqual({ dark: true, zoom: 1.5 });
      expect(await rejection(manager.getAccountData({ userId, roomId, type }))).toMatchObject(missing);
      await manager.setAccountData({ userId, roomId, type, content: { muted: true } });
      expect(await manager.getAccountData({ userId, roomId, type })).toEqual({ muted: true });
      expect(await manager.getTags({ userId, roomId })).toEqual(new Map());
      await manager.setTag({ userId, roomId, tag: 'm.favourite', order: 0.25 });
      await manager.setTag({ userId, roomId, tag: 'u.work' });
      expect(await manager.getTags({ userId, roomId })).toEqual(
        new Map([
          ['m.favourite', 0.25],
          ['u.work', undefined],
        ]),
      );
      await manager.removeTag({ userId, roomId, tag: 'u.work' });
      await manager.removeTag({ userId, roomId, tag: 'u.work' });
      expect([...(await manager.getTags({ userId, roomId })).keys()]).toEqual(['m.favourite']);
    });

    it('a room is marked as read, and as fully read, without a client', async () => {
      const manager = makeManager();
      const users = await provision(manager, 2);
      const [alice = '', bob = ''] = users;
      const roomId = await room(manager, users);
      const { eventId } = await manager.sendMessage({ userId: bob, roomId, text: 'read this' });
      manager.addCallback(alice, () => {});
      await manager.markRead({ userId: alice, roomId, eventId, fully: true });
      expect(await manager.getAccountData({ userId: alice, roomId, type: 'm.fully_read' })).toEqual({
        event_id: eventId,
      });
      expect(manager.listClients()).toEqual([]);
      const stranger = (await provision(manager, 1))[0] ?? '';
      const unread = manager.markRead({ userId: stranger, roomId, eventId, fully: true });
      expect((await rejection(unread)).code).toBe('FORBIDDEN');
    });

    it.each(['without a client', 'with a live client'])(
      'messages of ignored users reach neither callbacks nor pages, %s',
      async (kind) => {
        const manager = makeManager();
        const members = await provision(manager, 3);
        const [alice = '', bob = '', carol = ''] = members;
        const roomId = await room(manager, members);
        const heard: string[] = [];
        const onMessage = (event: { readonly type: string; readonly content?: unknown }): void => {
          if (event.type === 'message') heard.push((event.content as { body: string }).body);
        };
        if (kind === 'with a live client') await manager.startClient({ userId: alice, callbacks: [onMessage] });
        const say = (userId: string, text: string) => manager.sendMessage({ userId, roomId, text });
        const page = async (): Promise<unknown[]> =>
          (await manager.getRoomMessages({ userId: alice, roomId })).messages.map(({ content }) => content['body']);
        await say(bob, 'early');
        await say(carol, 'first');
        if (kind === 'with a live client')
          await expect.poll(() => heard, { timeout: 15_000 }).toEqual(['early', 'first']);
        expect(await manager.ignoreUsers({ userId: alice, ignore: [bob] })).toEqual([bob]);
        expect(await manager.ignoreUsers({ userId: alice, ignore: [bob] })).toEqual([bob]);
        await say(bob, 'late');
        await say(carol, 'second');
        if (kind === 'with a live client') {
          await expect.poll(() => heard, { timeout: 15_000 }).toEqual(['early', 'first', 'second']);
        }
        expect(await page()).toEqual(['second', 'first']);
        expect(await manager.ignoreUsers({ userId: alice, unignore: [bob] })).toEqual([]);
        await say(bob, 'again');
        if (kind === 'with a live client') await expect.poll(() => heard, { timeout: 15_000 }).toContain('again');
        expect(await page()).toEqual(['again', 'second', 'late', 'first', 'early']);
      },
    );

    it('many changes of the ignored users at once are all made, and keep what other clients have stored', async () => {
      const manager = makeManager();
      const [userId = ''] = await provision(manager, 1);
      const type = 'm.ignored_user_list';
      await manager.setAccountData({
        userId,
        type,
        content: { ignored_users: { '@old:hs.test': {} }, 'org.example': 1 },
      });
      const ids = Array.from({ length: 5 }, (_, index) => `@spam${index}:hs.test`);
      await Promise.all(ids.map((id) => manager.ignoreUsers({ userId, ignore: [id] })));
      expect((await manager.ignoreUsers({ userId })).toSorted()).toEqual(['@old:hs.test', ...ids]);
      expect(await manager.getAccountData({ userId, type })).toMatchObject({ 'org.example': 1 });
    });

    it('a session for a front end is on a device of its own, and ends alone', async () => {
      const manager = makeManager();
      const { userId, deviceId } = await manager.provisionUser({ username: `p${++users}-${run}` });
      const session = await manager.openSession({ userId, deviceName: 'Browser' });
      expect(session.userId).toBe(userId);
      expect(session.deviceId).not.toBe(deviceId);
      const devices = async (): Promise<Map<string, string | undefined>> =>
        new Map((await manager.admin.listDevices(userId)).map((device) => [device.deviceId, device.displayName]));
      expect((await devices()).get(session.deviceId)).toBe('Browser');
      const whoami = { userId, method: 'GET', path: '/_matrix/client/v3/account/whoami' } as const;
      expect(await manager.request(whoami)).toMatchObject({ device_id: deviceId });
      const { accessToken } = await manager.provisionUser({ username: userId.slice(1, userId.indexOf(':')) });
      const managed = manager.closeSession({ userId, deviceId, accessToken });
      expect(await rejection(managed)).toMatchObject({ code: 'INVALID_OPTIONS' });
      await manager.closeSession(session);
      await manager.closeSession(session);
      expect([...(await devices()).keys()]).toEqual([deviceId]);
      expect(await manager.request(whoami)).toMatchObject({ device_id: deviceId });
      const unknown = manager.openSession({ userId: `@nobody-${userId.slice(1)}` });
      expect(await rejection(unknown)).toMatchObject({ code: 'CLIENT_NOT_STARTED' });
    });
  });
}
