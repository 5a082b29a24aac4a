import { describe, expect, it } from 'vitest';
import { memoryStorage } from '../../src/index.js';
import type { MatrixClientManager, RoomMessage } from '../../src/index.js';
import { Recorder } from '../support/recorder.js';
import { managersOn } from './managers.js';
import type { Homeserver } from './managers.js';

interface RawEvent {
  event_id: string;
  type: string;
  content: Record<string, unknown>;
}

/** The main job of the library, the same on the fake homeserver and on a real one. */
export function mainJob(name: string, homeserver: () => Homeserver): void {
  describe(`the main job on ${name}`, () => {
    const { makeManager, run } = managersOn(homeserver);
    let users = 0;

    async function makeUser(manager: MatrixClientManager, recorder?: Recorder): Promise<string> {
      const { userId } = await manager.provisionUser({ username: `u${++users}-${run}` });
      await manager.startClient({ userId, callbacks: recorder ? [recorder.callback] : [] });
      return userId;
    }

    async function makeRoom(manager: MatrixClientManager, creator: string, members: string[] = []): Promise<string> {
      const { room_id: roomId } = await manager.withClient(creator, (client) =>
        client.createRoom({ invite: members, preset: 'private_chat' as never }),
      );
      for (const userId of members) await manager.withClient(userId, (client) => client.joinRoom(roomId));
      return roomId;
    }

    /** The homeserver's own history, newest first, asked for without the library. */
    async function history(manager: MatrixClientManager, userId: string, roomId: string): Promise<RawEvent[]> {
      const token = await manager.withClient(userId, (client) => client.getAccessToken());
      const events: RawEvent[] = [];
      for (let from: string | undefined = ''; from !== undefined;) {
        const url = `${homeserver().homeserverUrl}/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/messages?dir=b&limit=100${from && `&from=${from}`}`;
        const response = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
        const page = (await response.json()) as { chunk: RawEvent[]; end?: string };
        events.push(...page.chunk);
        from = page.end;
      }
      return events;
    }

    async function allPages(
      manager: MatrixClientManager,
      userId: string,
      roomId: string,
      limit: number,
      types?: string[],
    ): Promise<{ messages: RoomMessage[]; sources: string[] }> {
      const messages: RoomMessage[] = [];
      const sources: string[] = [];
      for (let from: string | undefined, more = true; more; more = from !== undefined) {
        const page = await manager.getRoomMessages({
          roomId,
          userId,
          limit,
          ...(from && { from }),
          ...(types && { types }),
        });
        expect(page.messages.length).toBeLessThanOrEqual(limit);
        messages.push(...page.messages);
        sources.push(page.source);
        from = page.end;
      }
      return { messages, sources };
    }

    const everything = ['message', 'reaction', 'redaction', 'membership', 'state', 'm.room.message'];

    it('delivers messages with typing and receipts to the other user', async () => {
      const manager = makeManager();
      const [alice, bob] = [new Recorder(), new Recorder()];
      const aliceId = await makeUser(manager, alice);
      const bobId = await makeUser(manager, bob);
      const roomId = await makeRoom(manager, aliceId, [bobId]);

      await manager.sendTyping({ userId: aliceId, roomId, typing: true });
      await bob.first((event) => event.type === 'typing' && event.userIds.includes(aliceId));
      const { eventId } = await manager.sendMessage({ userId: aliceId, roomId, text: 'hello', txnId: 'first' });
      expect(await bob.message('hello')).toMatchObject({
        type: 'message',
        userId: bobId,
        roomId,
        eventId,
        sender: aliceId,
        provenance: 'live',
        encrypted: false,
        eventType: 'm.room.message',
        content: { msgtype: 'm.text', body: 'hello' },
      });
      expect(await alice.message('hello')).toMatchObject({ transactionId: 'first' });
      await bob.first((event) => event.type === 'typing' && event.userIds.length === 0);

      await manager.sendReadReceipt({ userId: bobId, roomId, eventId });
      expect(await alice.first((event) => event.type === 'receipt' && event.sender === bobId)).toMatchObject({
        eventId,
        receiptType: 'm.read',
      });
    });

    it('keeps the order of each room, with many messages in several rooms at once', async () => {
      const manager = makeManager();
      const bob = new Recorder();
      const aliceId = await makeUser(manager);
      const bobId = await makeUser(manager, bob);
      const rooms = [await makeRoom(manager, aliceId, [bobId]), await makeRoom(manager, aliceId, [bobId])];
      const bodies = Array.from({ length: 60 }, (_, index) => `message ${index}`);
      await Promise.all(
        rooms.flatMap((roomId) => bodies.map((text) => manager.sendMessage({ userId: aliceId, roomId, text }))),
      );
      await bob.until(() => bob.bodies().length >= 2 * bodies.length);
      for (const roomId of rooms) expect(bob.bodies(roomId)).toEqual(bodies);
    });

    it('tells invitations, memberships, reactions, redactions and state apart', async () => {
      const manager = makeManager();
      const bob = new Recorder();
      const aliceId = await makeUser(manager);
      const bobId = await makeUser(manager, bob);
      const roomId = await makeRoom(manager, aliceId, [bobId]);
      const { eventId } = await manager.sendMessage({ userId: aliceId, roomId, text: 'wrong' });
      await manager.sendMessage({
        userId: aliceId,
        roomId,
        type: 'm.reaction',
        content: { 'm.relates_to': { rel_type: 'm.annotation', event_id: eventId, key: '👍' } },
      });
      await manager.withClient(aliceId, async (client) => {
        await client.redactEvent(roomId, eventId);
        await client.setRoomName(roomId, 'named');
      });
      expect(await bob.first(({ type }) => type === 'invite')).toMatchObject({ roomId, sender: aliceId });
      expect(await bob.first(({ type }) => type === 'membership')).toMatchObject({
        stateKey: bobId,
        membership: 'join',
      });
      expect(await bob.first(({ type }) => type === 'reaction')).toMatchObject({ relatesTo: eventId, key: '👍' });
      expect(await bob.first(({ type }) => type === 'redaction')).toMatchObject({ redacts: eventId });
      const named = await bob.first((event) => event.type === 'state' && event.eventType === 'm.room.name');
      expect(named).toMatchObject({ stateKey: '', content: { name: 'named' } });
    });

    it.each([1, 3, 50])('pages of %i equal the homeserver’s history, from memory, REST and both', async (limit) => {
      const manager = makeManager({ timelineLimit: 10 });
      const bob = new Recorder();
      const aliceId = await makeUser(manager);
      const bobId = await makeUser(manager, bob);
      const roomId = await makeRoom(manager, aliceId, [bobId]);
      for (let n = 0; n < 17; n++) await manager.sendMessage({ userId: aliceId, roomId, text: `n${n}` });
      await bob.message('n16');

      const expected = await history(manager, bobId, roomId);
      const mixed = await allPages(manager, bobId, roomId, limit, everything);
      expect(mixed.messages.map(({ eventId }) => eventId)).toEqual(expected.map((event) => event.event_id));
      expect(mixed.messages.map(({ content }) => content)).toEqual(expected.map((event) => event.content));
      expect(mixed.sources[0]).toBe(limit === 50 ? 'mixed' : 'synced');
      expect(mixed.sources.at(-1)).toBe(limit === 50 ? 'mixed' : 'rest');

      await manager.stopClient(bobId);
      const rest = await allPages(manager, bobId, roomId, limit, everything);
      expect(rest.messages.map(withoutUnknownName)).toEqual(mixed.messages.map(withoutUnknownName));
      expect(new Set(rest.sources)).toEqual(new Set(['rest']));

      const messages = await allPages(manager, bobId, roomId, limit);
      expect(messages.messages.map(({ content }) => content.body)).toEqual(
        Array.from({ length: 17 }, (_, n) => `n${16 - n}`),
      );
    });

    it('pages equal the homeserver’s history also where many senders wrote at once', async () => {
      const manager = makeManager({ timelineLimit: 60 });
      const reader = new Recorder();
      const readerId = await makeUser(manager, reader);
      const senders: string[] = [];
      for (let n = 0; n < 6; n++) senders.push(await makeUser(manager));
      const roomId = await makeRoom(manager, readerId, senders);
      const say = (userId: string, text: string): Promise<unknown> => manager.sendMessage({ userId, roomId, text });
      for (let n = 0; n < 12; n++) await Promise.all(senders.map((userId) => say(userId, `${n} of ${userId}`)));
      await say(readerId, 'end');
      await reader.message('end');
      await reader.until((events) => events.filter(({ type }) => type === 'message').length === 73);
      const expected = (await history(manager, readerId, roomId)).map((event) => event.event_id);
      for (const limit of [7, 50]) {
        const { messages } = await allPages(manager, readerId, roomId, limit, everything);
        expect(messages.map(({ eventId }) => eventId)).toEqual(expected);
      }
    });

    it('reads on with a cursor on another manager, and after the timeline was trimmed', async () => {
      const storage = memoryStorage();
      const manager = makeManager({ timelineLimit: 5, storage });
      const bob = new Recorder();
      const aliceId = await makeUser(manager);
      const bobId = await makeUser(manager, bob);
      const roomId = await makeRoom(manager, aliceId, [bobId]);
      for (let n = 0; n < 8; n++) await manager.sendMessage({ userId: aliceId, roomId, text: `n${n}` });
      await bob.message('n7');
      const first = await manager.getRoomMessages(roomId, 2, undefined, bobId);
      expect(first).toMatchObject({
        source: 'synced',
        messages: [{ content: { body: 'n7' } }, { content: { body: 'n6' } }],
      });
      for (let n = 8; n < 20; n++) await manager.sendMessage({ userId: aliceId, roomId, text: `n${n}` });
      await bob.message('n19');

      const trimmed = await manager.getRoomMessages(roomId, 2, first.end, bobId);
      expect(trimmed.messages.map(({ content }) => content.body)).toEqual(['n5', 'n4']);
      expect(trimmed.source).toBe('rest');

      const { accessToken, deviceId } = (await storage.getCredentials(bobId)) as {
        accessToken: string;
        deviceId: string;
      };
      const other = makeManager({ credentials: async (userId) => ({ userId, accessToken, deviceId }) });
      const elsewhere = await other.getRoomMessages({ roomId, limit: 2, from: first.end, userId: bobId });
      expect(elsewhere.messages).toEqual(trimmed.messages);
      await expect(other.getRoomMessages(roomId, 2, `${first.end}x`, bobId)).rejects.toMatchObject({
        code: 'INVALID_CURSOR',
      });
    });

    it('applies edits and redactions the same on pages from memory and from REST', async () => {
      const manager = makeManager();
      const bob = new Recorder();
      const aliceId = await makeUser(manager);
      const bobId = await makeUser(manager, bob);
      const roomId = await makeRoom(manager, aliceId, [bobId]);
      const send = async (text: string): Promise<string> => {
        return (await manager.sendMessage({ userId: aliceId, roomId, text })).eventId;
      };
      const edit = async (eventId: string, body: string, userId = aliceId): Promise<string> => {
        const content = {
          msgtype: 'm.text',
          body: `* ${body}`,
          'm.new_content': { msgtype: 'm.text', body },
          'm.relates_to': { rel_type: 'm.replace', event_id: eventId },
        };
        return (await manager.sendMessage({ userId, roomId, content })).eventId;
      };
      const [edited, redacted, forged, restored] = [await send('a'), await send('b'), await send('c'), await send('d')];
      await edit(edited, 'a1');
      await edit(edited, 'a2');
      await edit(forged, 'not yours', bobId);
      const undone = await edit(restored, 'd1');
      await manager.withClient(aliceId, async (client) => {
        await client.redactEvent(roomId, redacted, undefined, { reason: 'oops' });
        await client.redactEvent(roomId, undone);
      });
      await send('end');
      await bob.message('end');

      const synced = await manager.getRoomMessages({ roomId, userId: bobId });
      expect(synced.source).toBe('synced');
      const byId = new Map(synced.messages.map((message) => [message.eventId, message]));
      expect(byId.get(edited)).toMatchObject({ content: { body: 'a2' }, edited: {} });
      expect(byId.get(redacted)).toMatchObject({ content: {}, redacted: { sender: aliceId, reason: 'oops' } });
      expect(byId.get(forged)?.content.body).toBe('c');
      expect(byId.get(restored)?.content.body).toBe('d');

      await manager.stopClient(bobId);
      const rest = await manager.getRoomMessages({ roomId, userId: bobId });
      expect(rest.source).toBe('rest');
      expect(rest.messages).toEqual(synced.messages);
    });

    it('posts a message once however often it is sent with one txnId', async () => {
      const manager = makeManager();
      const aliceId = await makeUser(manager);
      const roomId = await makeRoom(manager, aliceId);
      const message = { userId: aliceId, roomId, text: 'once', txnId: 'the-one' };
      const sent = await Promise.all([manager.sendMessage(message), manager.sendMessage(message)]);
      await manager.stopClient(aliceId);
      sent.push(await manager.sendMessage(message));
      expect(new Set(sent.map(({ eventId }) => eventId)).size).toBe(1);
      const events = await history(manager, aliceId, roomId);
      expect(events.filter(({ content }) => content.body === 'once')).toHaveLength(1);
    });

    it.each([5, 130])(
      'delivers %i messages missed while asleep, in order and once, before live ones',
      async (missed) => {
        const manager = makeManager();
        const bob = new Recorder();
        const aliceId = await makeUser(manager);
        const bobId = await makeUser(manager, bob);
        const roomId = await makeRoom(manager, aliceId, [bobId]);
        await manager.sendMessage({ userId: aliceId, roomId, text: 'before' });
        await bob.message('before');
        await manager.stopClient(bobId);
        const bodies = Array.from({ length: missed }, (_, n) => `missed ${n}`);
        for (const text of bodies) await manager.sendMessage({ userId: aliceId, roomId, text });
        expect(bob.bodies()).toEqual(['before']);

        await manager.startClient({ userId: bobId });
        await manager.sendMessage({ userId: aliceId, roomId, text: 'after' });
        await bob.message('after');
        expect(bob.bodies()).toEqual(['before', ...bodies, 'after']);
        const provenances = bob.events.filter(({ type }) => type === 'message').map(({ provenance }) => provenance);
        expect(provenances).toEqual(['live', ...bodies.map(() => 'gap-fill'), 'live']);
      },
    );

    it('knows the room and its members after a wake, though it resumed from its position', async () => {
      const manager = makeManager();
      const aliceId = await makeUser(manager);
      const bobId = await makeUser(manager);
      const roomId = await makeRoom(manager, aliceId, [bobId]);
      await manager.withClient(aliceId, (client) => client.setRoomName(roomId, 'before'));
      await manager.startClient({ userId: bobId });
      await manager.stopClient(bobId);
      await manager.startClient({ userId: bobId });
      const room = manager.getClient(bobId)?.getRoom(roomId);
      expect(room?.getMyMembership()).toBe('join');
      expect(room?.currentState.getStateEvents('m.room.create', '')).not.toBeNull();
    });

    it('goes on unseen when the access token dies', async () => {
      const storage = memoryStorage();
      const manager = makeManager({ storage, pollTimeoutMs: 1_000 });
      const bob = new Recorder();
      const aliceId = await makeUser(manager);
      const bobId = await makeUser(manager, bob);
      const roomId = await makeRoom(manager, aliceId, [bobId]);
      const before = await storage.getCredentials(bobId);
      // Logging out deletes the device; the renewal makes it again under the same id.
      await fetch(`${homeserver().homeserverUrl}/_matrix/client/v3/logout`, {
        method: 'POST',
        headers: { authorization: `Bearer ${before?.accessToken}` },
      });
      await manager.sendMessage({ userId: aliceId, roomId, text: 'are you there' });
      await bob.message('are you there');
      const { eventId } = await manager.sendMessage({ userId: bobId, roomId, text: 'yes' });
      expect(eventId).toMatch(/^\$/);
      const after = await storage.getCredentials(bobId);
      expect(after?.deviceId).toBe(before?.deviceId);
      expect(after?.accessToken).not.toBe(before?.accessToken);
      expect(manager.clientInfo(bobId)?.state).toBe('live');
    });

    it('provisions a user once, however many callers and managers ask at once', async () => {
      const [one, two] = [makeManager(), makeManager()];
      const username = `race-${run}`;
      const provisioned = await Promise.all(
        [one, two, one, two, one, two].map((manager) => manager.provisionUser({ username })),
      );
      expect(provisioned.filter(({ created }) => created).length).toBeGreaterThanOrEqual(1);
      for (const { userId, accessToken } of provisioned) {
        const response = await fetch(`${homeserver().homeserverUrl}/_matrix/client/v3/account/whoami`, {
          headers: { authorization: `Bearer ${accessToken}` },
        });
        expect(await response.json()).toMatchObject({ user_id: userId });
      }
    });

    it('tells a user who comes back to a room nothing of what was said meanwhile', async () => {
      const manager = makeManager();
      const bob = new Recorder();
      const aliceId = await makeUser(manager);
      const bobId = await makeUser(manager, bob);
      const roomId = await makeRoom(manager, aliceId, [bobId]);
      await manager.sendMessage({ userId: aliceId, roomId, text: 'one' });
      await bob.message('one');
      await manager.withClient(bobId, (client) => client.leave(roomId));
      await bob.first((event) => event.type === 'membership' && event.membership === 'leave');
      await manager.sendMessage({ userId: aliceId, roomId, text: 'behind your back' });
      await manager.withClient(aliceId, (client) => client.invite(roomId, bobId));
      await manager.withClient(bobId, (client) => client.joinRoom(roomId));
      await manager.sendMessage({ userId: aliceId, roomId, text: 'two' });
      await bob.message('two');
      expect(bob.bodies()).toEqual(['one', 'two']);
    });

    it('starts anew with many rooms, and brings news of every one of them and all its history', async () => {
      const first = makeManager();
      const aliceId = await makeUser(first);
      const bobId = await makeUser(first);
      const rooms = await Promise.all(Array.from({ length: 25 }, () => makeRoom(first, aliceId, [bobId])));
      const send = async (text: string): Promise<void> => {
        for (const roomId of rooms) await first.sendMessage({ userId: aliceId, roomId, text });
      };
      await send('history');
      const second = makeManager({ storage: memoryStorage() });
      const [live, all] = [new Recorder(), new Recorder()];
      await second.provisionUser({ username: bobId.slice(1, bobId.indexOf(':')), deviceId: 'SECOND' });
      second.addCallback(bobId, live.callback);
      second.addCallback(bobId, all.callback, { backlog: true });
      await second.startClient({ userId: bobId });
      await send('news');
      await live.until(() => live.bodies().length >= rooms.length);
      await all.until(() => all.bodies().length >= 2 * rooms.length);
      for (const roomId of rooms) {
        expect(live.bodies(roomId)).toEqual(['news']);
        expect(all.bodies(roomId)).toEqual(['history', 'news']);
        const { messages } = await second.getRoomMessages({ roomId, userId: bobId });
        expect(messages.map(({ content }) => content.body)).toEqual(['news', 'history']);
      }
      expect(second.getClient(bobId)?.getRooms()).toHaveLength(rooms.length);
    });

    it('answers for rooms that the user is not in with errors, and never with empty pages', async () => {
      const manager = makeManager();
      const aliceId = await makeUser(manager);
      const bobId = await makeUser(manager);
      const roomId = await makeRoom(manager, aliceId);
      await expect(manager.getRoomMessages({ roomId, userId: bobId })).rejects.toMatchObject({
        code: 'FORBIDDEN',
        roomId,
      });
      await expect(manager.getRoomMessages({ roomId })).rejects.toMatchObject({ code: 'FORBIDDEN' });
      await expect(manager.sendMessage({ userId: bobId, roomId, text: 'x' })).rejects.toMatchObject({
        code: 'FORBIDDEN',
      });
    });

    it('refuses to send in the clear to an encrypted room', async () => {
      const manager = makeManager();
      const aliceId = await makeUser(manager);
      const { room_id: roomId } = await manager.withClient(aliceId, (client) =>
        client.createRoom({
          initial_state: [{ type: 'm.room.encryption', state_key: '', content: { algorithm: 'm.megolm.v1.aes-sha2' } }],
        }),
      );
      const sending = manager.sendMessage({ userId: aliceId, roomId, text: 'secret' });
      await expect(sending).rejects.toMatchObject({ code: 'ENCRYPTION_UNAVAILABLE' });
    });
  });
}

/** Before the room's first members, the homeserver tells no names; a client that was in the room later knows them. */
function withoutUnknownName({ senderName, ...message }: RoomMessage): Partial<RoomMessage> {
  return message.eventType === 'm.room.create' || senderName === undefined ? message : { ...message, senderName };
}
