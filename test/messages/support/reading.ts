import type { expect as vitestExpect, it as vitestIt } from 'vitest';
import type { GetRoomMessagesOptions, MatrixClientManager, MessagePage } from '../../../src/index.js';
import type { HomeserverTarget } from '../../../src/testing/contracts/homeserver-contract.js';
import { Deployment } from '../../encryption/support/encrypted-chats.js';
import { rejection } from '../../support/rejection.js';

type Reading = Omit<GetRoomMessagesOptions, 'roomId' | 'userId'>;

/** The ways to read a room: on a fake homeserver, and a real one. */
export function reading(
  it: typeof vitestIt,
  expect: typeof vitestExpect,
  target: () => Promise<HomeserverTarget>,
): void {
  /** A room with alice and bob. Bob reads with a client, alice without one. */
  async function setUp() {
    const deployment = new Deployment(await target());
    const manager = deployment.start({ timelineLimit: 10 });
    const [alice, bob] = [await deployment.user(manager), await deployment.user(manager)];
    const { roomId } = await manager.rooms.create({ userId: alice, preset: 'private_chat', invite: [bob] });
    await manager.rooms.join({ userId: bob, roomId });
    const say = async (text: string, more: object = {}): Promise<string> =>
      (await manager.sendMessage({ userId: alice, roomId, text, ...more })).eventId;
    const read = (userId: string, options: Reading): Promise<MessagePage> =>
      manager.getRoomMessages({ userId, roomId, ...options });
    /** Follows `end` to the last page. */
    const readAll = async (userId: string, options: Reading): Promise<MessagePage[]> => {
      const pages = [await read(userId, options)];
      for (let end = pages[0]?.end; end !== undefined; end = pages.at(-1)?.end) {
        pages.push(await read(userId, { ...options, from: end }));
      }
      return pages;
    };
    return { deployment, manager, alice, bob, roomId, say, read, readAll };
  }

  const textsOf = (...pages: MessagePage[]) => pages.flatMap(({ messages }) => messages.map(({ text }) => text));

  async function startAndCatchUp(manager: MatrixClientManager, userId: string, roomId: string, text: string) {
    await manager.startClient({ userId });
    const newest = async () => {
      const page = await manager.getRoomMessages({ userId, roomId, limit: 1 });
      return [page.source, page.messages[0]?.text];
    };
    await expect.poll(newest, { timeout: 15_000 }).toEqual(['synced', text]);
  }

  it('`after` reads forwards, each message once, from memory and from the homeserver', async () => {
    const { manager, alice, bob, roomId, say, read, readAll } = await setUp();
    const ids: string[] = [];
    const all = Array.from({ length: 9 }, (_, i) => `m${i}`);
    for (const text of all) ids.push(await say(text));
    await startAndCatchUp(manager, bob, roomId, 'm8');
    for (const [userId, source] of [
      [alice, 'rest'],
      [bob, 'synced'],
    ] as const) {
      for (const limit of [1, 3, 50]) {
        const pages = await readAll(userId, { after: ids[2] ?? '', limit });
        expect(textsOf(...pages), `${source}, ${limit}`).toEqual(all.slice(3));
      }
      // A client that receives something at the moment is not asked.
      await expect.poll(async () => (await read(userId, { after: ids[2] ?? '' })).source).toBe(source);
      const newest = await readAll(userId, { after: ids.at(-1) ?? '' });
      expect(newest.map(({ messages, end }) => [messages, end])).toEqual([[[], undefined]]);
    }
    const first = await read(bob, { after: ids[4] ?? '', limit: 2 });
    await manager.stopClient(bob); // the next page comes from another place
    expect(textsOf(await read(bob, { after: ids[4] ?? '', limit: 2, from: first.end }))).toEqual(['m7', 'm8']);
    await say('later');
    expect(textsOf(await read(bob, { after: ids[7] ?? '' }))).toEqual(['m8', 'later']);
  });

  it('`after` tells of edits, redactions and reactions of messages that are older', async () => {
    const { manager, alice, bob, roomId, say, read } = await setUp();
    const old = await say('old');
    const other = await say('other');
    const last = await say('last');
    const edit = await say('new', { edits: old });
    const { eventId: reaction } = await manager.sendReaction({ userId: bob, roomId, eventId: old, key: '👍' });
    const { eventId: redaction } = await manager.redact({ userId: alice, roomId, eventId: other });
    await say('end');
    await startAndCatchUp(manager, bob, roomId, 'end');
    const common = { types: ['message', 'reaction', 'redaction'], after: last };
    for (const userId of [alice, bob]) {
      const { messages, end } = await read(userId, common);
      expect(end).toBeUndefined();
      expect(messages).toMatchObject([
        { type: 'message', eventId: edit, edits: old, text: 'new' },
        { type: 'reaction', eventId: reaction, relatesTo: old, key: '👍' },
        { type: 'redaction', eventId: redaction, redacts: other },
        { type: 'message', text: 'end' },
      ]);
    }
  });

  it('`around` reads an event with its neighbours, and `end` goes on before them', async () => {
    const { alice, say, read } = await setUp();
    const ids: string[] = [];
    for (let i = 0; i < 9; i++) ids.push(await say(`m${i}`));
    const around = ids[4] ?? '';
    const page = await read(alice, { around, limit: 5 });
    expect(textsOf(page)).toEqual(['m6', 'm5', 'm4', 'm3', 'm2']);
    expect(textsOf(await read(alice, { from: page.end, limit: 1 }))).toEqual(['m1']);
    expect(textsOf(await read(alice, { around, limit: 1 }))).toEqual(['m4']);
    expect(page.messages[0]).toMatchObject({ sender: alice, senderName: expect.any(String) });
    const newer = await read(alice, { after: page.messages[0]?.eventId ?? '', limit: 1 });
    expect(textsOf(newer)).toEqual(['m7']);
  });

  it('`threadId` reads a thread with its first event, edits applied', async () => {
    const { manager, alice, bob, roomId, say, readAll } = await setUp();
    const root = await say('root');
    const replies: string[] = [];
    for (const text of ['t1', 't2', 't3']) {
      replies.push(await say(text, { threadId: root }));
      await say(`not ${text}`);
    }
    await say('t2, edited', { edits: replies[1] });
    await manager.redact({ userId: alice, roomId, eventId: replies[0] ?? '' });
    for (const userId of [alice, bob]) {
      for (const limit of [1, 2, 50]) {
        const pages = await readAll(userId, { threadId: root, limit });
        expect(textsOf(...pages), `limit ${limit}`).toEqual(['t3', 't2, edited', 'root']);
      }
    }
    expect(textsOf(...(await readAll(alice, { threadId: replies[2] ?? '' })))).toEqual(['t3']);
  });

  it('`reactions` counts who has reacted, without those taken back and those of ignored users', async () => {
    const { deployment, manager, alice, bob, roomId, say, read } = await setUp();
    const carol = await deployment.user(manager);
    await manager.rooms.invite({ userId: alice, roomId, targetUserId: carol });
    await manager.rooms.join({ userId: carol, roomId });
    const [liked, plain] = [await say('liked'), await say('plain')];
    const react = async (userId: string, key: string): Promise<string> =>
      (await manager.sendReaction({ userId, roomId, eventId: liked, key })).eventId;
    const ofBob = await react(bob, '👍');
    await react(carol, '👍');
    await react(alice, '🎉');
    const slip = await react(alice, '👎');
    await manager.redact({ userId: alice, roomId, eventId: slip });
    await say('end');
    const reactionsFor = async (userId: string) => {
      const source = manager.hasClient(userId) ? 'synced' : 'rest';
      await expect.poll(async () => (await read(userId, { reactions: true })).source).toBe(source);
      const { messages } = await read(userId, { reactions: true });
      const byId = new Map(messages.map((message) => [message.eventId, message.reactions]));
      expect(byId.get(plain)).toEqual([]);
      return byId.get(liked);
    };
    const thumbs = { key: '👍', count: 2, userIds: [bob, carol] };
    const party = expect.objectContaining({ key: '🎉', count: 1, userIds: [alice] });
    expect(await reactionsFor(bob)).toEqual([{ ...thumbs, ownEventId: ofBob }, party]);
    expect(await reactionsFor(carol)).toEqual([{ ...thumbs, ownEventId: expect.any(String) }, party]);
    await startAndCatchUp(manager, bob, roomId, 'end');
    expect(await reactionsFor(bob)).toEqual([{ ...thumbs, ownEventId: ofBob }, party]);
    expect((await read(bob, {})).messages[0]).not.toHaveProperty('reactions');
    await manager.stopClient(bob);
    await manager.ignoreUsers({ userId: bob, ignore: [carol] });
    expect(await reactionsFor(bob)).toEqual([{ key: '👍', count: 1, userIds: [bob], ownEventId: ofBob }, party]);
  });

  it('says that a cursor is invalid if the sender of its event was ignored meanwhile', async () => {
    const { manager, alice, bob, roomId, say, read } = await setUp();
    for (const text of ['m0', 'm1', 'm2', 'm3']) await say(text);
    await startAndCatchUp(manager, bob, roomId, 'm3');
    const page = await read(bob, { limit: 2 });
    expect([page.source, textsOf(page)]).toEqual(['synced', ['m3', 'm2']]);
    await manager.stopClient(bob);
    await manager.ignoreUsers({ userId: bob, ignore: [alice] });
    expect(await rejection(read(bob, { limit: 2, from: page.end }))).toMatchObject({ code: 'INVALID_CURSOR', roomId });
    expect(textsOf(await read(bob, { limit: 2 }))).toEqual([]);
  });

  it('refuses unknown events, events of other rooms, and readers outside of the room', async () => {
    const { deployment, manager, alice, say, read } = await setUp();
    const eventId = await say('here');
    const { roomId: other } = await manager.rooms.create({ userId: alice, preset: 'private_chat' });
    const { eventId: elsewhere } = await manager.sendMessage({ userId: alice, roomId: other, text: 'elsewhere' });
    const stranger = await deployment.user(manager);
    for (const way of ['after', 'around', 'threadId']) {
      for (const unknown of ['$unknown', elsewhere]) {
        expect(await rejection(read(alice, { [way]: unknown })), way).toMatchObject({ code: 'NOT_FOUND' });
      }
      expect(await rejection(read(stranger, { [way]: eventId })), way).toMatchObject({ code: 'FORBIDDEN' });
    }
    const second = await say('second');
    const ways: Reading[] = [{}, { after: eventId }, { after: second }, { threadId: eventId }];
    const { end } = await read(alice, { limit: 1 });
    const foreign = await rejection(manager.getRoomMessages({ userId: alice, roomId: other, from: end }));
    expect(foreign).toMatchObject({ code: 'INVALID_CURSOR' });
    await say('third');
    const forward = await read(alice, { after: eventId, limit: 1 });
    for (const way of ways) {
      const isOwn = way.after === eventId;
      const answer = read(alice, { ...way, from: forward.end });
      if (isOwn) expect(textsOf(await answer)).toEqual(['third']);
      else expect(await rejection(answer)).toMatchObject({ code: 'INVALID_CURSOR' });
    }
    const combined: Reading[] = [
      { after: eventId, around: eventId },
      { after: eventId, threadId: eventId },
      { around: eventId, from: end },
      { reactions: true, limit: 101 },
    ];
    for (const options of combined) {
      expect(await rejection(read(alice, options))).toMatchObject({ code: 'INVALID_OPTIONS' });
    }
  });
}
