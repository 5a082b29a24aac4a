import { describe, expect, it } from 'vitest';
import { toContent } from '../../src/sending/content.js';
import { managerOnFake } from '../support/manager-on-fake.js';
import { rejection } from '../support/rejection.js';

describe('a message', () => {
  it('that replies names the event', () => {
    expect(toContent({ text: 'yes', replyTo: '$1' })).toEqual({
      msgtype: 'm.text',
      body: 'yes',
      'm.relates_to': { 'm.in_reply_to': { event_id: '$1' } },
    });
  });

  it('in a thread is a reply to its first event for clients that know no threads', () => {
    expect(toContent({ text: 'a', threadId: '$1' })['m.relates_to']).toEqual({
      rel_type: 'm.thread',
      event_id: '$1',
      is_falling_back: true,
      'm.in_reply_to': { event_id: '$1' },
    });
    expect(toContent({ text: 'a', threadId: '$1', replyTo: '$2' })['m.relates_to']).toEqual({
      rel_type: 'm.thread',
      event_id: '$1',
      is_falling_back: false,
      'm.in_reply_to': { event_id: '$2' },
    });
  });

  it('that edits has the new content, and a form for clients that know no edits', () => {
    const mentions = { userIds: ['@bob:hs.test', '@bob:hs.test'], room: true };
    expect(toContent({ text: 'b', html: '<b>b</b>', edits: '$1', mentions })).toEqual({
      msgtype: 'm.text',
      body: '* b',
      format: 'org.matrix.custom.html',
      formatted_body: '* <b>b</b>',
      'm.mentions': {},
      'm.new_content': {
        msgtype: 'm.text',
        body: 'b',
        format: 'org.matrix.custom.html',
        formatted_body: '<b>b</b>',
        'm.mentions': { user_ids: ['@bob:hs.test'], room: true },
      },
      'm.relates_to': { rel_type: 'm.replace', event_id: '$1' },
    });
    expect(toContent({ content: { body: 7 }, edits: '$1' })).toMatchObject({ body: 7, 'm.new_content': { body: 7 } });
  });

  it('of a type that is never encrypted has no text', () => {
    for (const type of ['m.reaction', 'm.room.redaction']) {
      expect(() => toContent({ text: 'secret' }, type)).toThrow(/never encrypted/);
    }
  });

  it('that mentions nobody says so', () => {
    expect(toContent({ text: 'a', mentions: {} })['m.mentions']).toEqual({});
  });

  it.each([
    [{ text: 'a', edits: '$1', replyTo: '$2' }],
    [{ text: 'a', edits: '$1', threadId: '$2' }],
    [{ content: { 'm.relates_to': {} }, replyTo: '$1' }],
    [{ content: { 'm.mentions': {} }, mentions: {} }],
    [{ text: 'x'.repeat(40_000), edits: '$1' }],
  ])('cannot be of two kinds, nor too large (%#)', (message) => {
    expect(() => toContent(message)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }) as Error);
  });

  it.each([
    [{ replyTo: 'no id' }],
    [{ threadId: '' }],
    [{ edits: 5 }],
    [{ mentions: { userIds: ['bob'] } }],
    [{ mentions: { userIds: '@bob:hs.test' } }],
    [{ mentions: { room: 1 } }],
    [{ mentions: { users: [] } }],
  ])('is refused with %j before a request is made', async (relations) => {
    const { manager, fake } = managerOnFake();
    const { userId } = await manager.provisionUser({ username: 'alice' });
    const roomId = fake.createRoom({ creator: userId });
    const send = manager.sendMessage({ userId, roomId, text: 'a', ...(relations as object) });
    expect(['INVALID_OPTIONS', 'INVALID_USER_ID']).toContain((await rejection(send)).code);
  });
});

describe('a reaction and a redaction', () => {
  async function setUp() {
    const made = managerOnFake();
    const { userId } = await made.manager.provisionUser({ username: 'alice' });
    const roomId = made.fake.createRoom({ creator: userId });
    const { eventId } = await made.manager.sendMessage({ userId, roomId, text: 'a' });
    return { ...made, userId, roomId, eventId };
  }

  it('are sent once for one txnId, in the order of the calls', async () => {
    const { manager, fake, userId, roomId, eventId } = await setUp();
    const target = { userId, roomId, eventId };
    const [first, second] = await Promise.all([
      manager.sendReaction({ ...target, key: '👍', txnId: 'r' }),
      manager.sendReaction({ ...target, key: '👍', txnId: 'r' }),
    ]);
    expect(first).toEqual(second);
    const removed = manager.redact({ userId, roomId, eventId: first.eventId, txnId: 'd' });
    const after = manager.sendMessage({ userId, roomId, text: 'b' });
    await Promise.all([removed, after]);
    expect(await manager.redact({ userId, roomId, eventId: first.eventId, txnId: 'd' })).toEqual(await removed);
    const types = fake.events(roomId).map(({ type }) => type);
    expect(types.slice(-3)).toEqual(['m.reaction', 'm.room.redaction', 'm.room.message']);
  });

  it('that is there already resolve to it, also among many others', async () => {
    const { manager, fake, userId, roomId, eventId } = await setUp();
    const target = { userId, roomId, eventId };
    const { eventId: first } = await manager.sendReaction({ ...target, key: '👍' });
    for (let n = 0; n < 150; n++) {
      const other = fake.createUser({ username: `u${n}` }).userId;
      fake.join(roomId, other);
      fake.sendMessage(
        roomId,
        other,
        { 'm.relates_to': { rel_type: 'm.annotation', event_id: eventId, key: '👍' } },
        { type: 'm.reaction' },
      );
    }
    expect(await manager.sendReaction({ ...target, key: '👍' })).toEqual({ eventId: first });
    const endpoint = '/_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}/{eventType}';
    fake.faults.wrongTypes({ endpoint }, { chunk: [null, 5, { sender: userId }], next_batch: 'again' });
    expect(await rejection(manager.sendReaction({ ...target, key: '👍' }))).toMatchObject({
      errcode: 'M_DUPLICATE_ANNOTATION',
    });
  });

  it.each([[{ key: '' }], [{ key: 5 }], [{}]])('refuse the key of %j', async (reaction) => {
    const { manager, userId, roomId, eventId } = await setUp();
    const send = manager.sendReaction({ userId, roomId, eventId, ...(reaction as { key: string }) });
    expect(await rejection(send)).toMatchObject({ code: 'INVALID_OPTIONS' });
  });

  it('survive a crash if they are durable', async () => {
    const { manager, make, fake, soon, storage, clock, userId, roomId, eventId } = await setUp();
    fake.faults.status({ endpoint: '/rooms/{roomId}/redact/{eventId}/{txnId}' }, { status: 503, body: {} });
    const sending = manager.redact({ userId, roomId, eventId, reason: 'spam', durable: true, txnId: 'd' });
    sending.catch(() => {});
    await clock.advance(1_000);
    expect(await storage.listSends({ state: 'queued' })).toMatchObject([{ txnId: 'd', type: 'm.room.redaction' }]);
    await soon(manager.shutdown());
    fake.faults.clear();
    const next = make();
    await soon(next.sendMessage({ userId, roomId, text: 'after it' }));
    expect(await next.listSends({ state: 'sent' })).toMatchObject([{ txnId: 'd' }]);
    const redaction = fake.events(roomId).find(({ type }) => type === 'm.room.redaction');
    expect(redaction).toMatchObject({ content: { reason: 'spam' } });
    await soon(next.shutdown());
  });

  it('do not end a typing notification', async () => {
    const { manager, fake, userId, roomId, eventId } = await setUp();
    const typing = () => fake.countRequests(({ endpoint }) => endpoint === '/rooms/{roomId}/typing/{userId}');
    await manager.sendTyping({ userId, roomId, typing: true });
    await manager.sendReaction({ userId, roomId, eventId, key: '👍' });
    expect(typing()).toBe(1);
    await manager.sendMessage({ userId, roomId, text: 'b' });
    expect(typing()).toBe(2);
  });
});
