import type { expect as vitestExpect, it as vitestIt } from 'vitest';
import type { HomeserverTarget } from '../../../src/testing/contracts/homeserver-contract.js';
import { Recorder } from '../../support/recorder.js';
import { Deployment, encryptedRoom } from '../../encryption/support/encrypted-chats.js';

/** Replies, threads, edits, mentions, reactions and redactions: on a fake homeserver, and a real one. */
export function relatedMessages(
  it: typeof vitestIt,
  expect: typeof vitestExpect,
  target: () => Promise<HomeserverTarget>,
): void {
  it.each(['clear', 'encrypted'])('are what they say, in a room that is %s', async (kind) => {
    const deployment = new Deployment(await target());
    const manager = deployment.start();
    const [alice, bob] = [await deployment.user(manager), await deployment.user(manager)];
    await manager.setDisplayName({ userId: alice, displayName: 'Alice' });
    const inbox = new Recorder();
    await manager.startClient({ userId: bob, callbacks: [inbox.callback] });
    const roomId =
      kind === 'encrypted'
        ? await encryptedRoom(manager, [alice, bob])
        : await manager.withClient(alice, async (client) => (await client.createRoom({ invite: [bob] })).room_id);
    if (kind === 'clear') await manager.withClient(bob, (client) => client.joinRoom(roomId));
    const send = async (text: string, more: object = {}): Promise<string> =>
      (await manager.sendMessage({ userId: alice, roomId, text, ...more })).eventId;
    const root = await send('question');
    const reply = await send('answer', { replyTo: root, mentions: { userIds: [bob] } });
    const threaded = await send('in the thread', { threadId: root });
    const edit = await send('question, again', { edits: root });
    const { eventId: reaction } = await manager.sendReaction({ userId: bob, roomId, eventId: root, key: '👍' });
    const { eventId: second } = await manager.sendReaction({ userId: bob, roomId, eventId: root, key: '👎' });
    await manager.redact({ userId: bob, roomId, eventId: second, reason: 'a slip' });
    await manager.redact({ userId: alice, roomId, eventId: threaded, durable: true });
    const page = async () =>
      new Map(
        (await manager.getRoomMessages({ userId: bob, roomId })).messages.map((message) => [message.eventId, message]),
      );
    await expect.poll(async () => (await page()).get(threaded)?.redacted, { timeout: 15_000 }).toBeDefined();
    const messages = await page();
    expect(messages.get(root)).toMatchObject({ content: { body: 'question, again' }, encrypted: kind === 'encrypted' });
    expect(messages.get(root)?.edited).toBeDefined();
    expect(messages.get(reply)?.content).toMatchObject({
      body: 'answer',
      'm.relates_to': { 'm.in_reply_to': { event_id: root } },
      'm.mentions': { user_ids: [bob] },
    });
    const live = async (eventId: string) =>
      inbox.first((received) => 'eventType' in received && received.eventId === eventId);
    const ofAlice = { type: 'message', eventType: 'm.room.message', sender: alice, senderName: 'Alice' };
    const answer = { text: 'answer', replyTo: root, mentions: { userIds: [bob], room: false }, ...ofAlice };
    const received = await live(reply);
    expect(received).toMatchObject(answer);
    expect({ ...messages.get(reply), userId: bob, provenance: 'live' }).toEqual(received);
    expect(await live(threaded)).toMatchObject({ ...ofAlice, text: 'in the thread', threadId: root });
    expect(await live(threaded)).not.toHaveProperty('replyTo');
    expect(await live(edit)).toMatchObject({ ...ofAlice, edits: root, text: 'question, again' });
    expect(messages.get(root)).toMatchObject({ ...ofAlice, text: 'question, again', edited: { eventId: edit } });
    await manager.stopClient(bob);
    const fromHomeserver = await page();
    const ofPage = (id: string) => ({ ...fromHomeserver.get(id), content: undefined, decryption: undefined });
    for (const id of [root, reply]) {
      expect(ofPage(id)).toEqual({ ...messages.get(id), content: undefined, decryption: undefined });
    }
    const event = async (eventId: string): Promise<unknown> => {
      const path = '/_matrix/client/v3/rooms/{roomId}/event/{eventId}';
      return manager.request({ userId: alice, method: 'GET', path, pathParams: { roomId, eventId } });
    };
    expect(await event(reaction)).toMatchObject({
      type: 'm.reaction',
      content: { 'm.relates_to': { rel_type: 'm.annotation', event_id: root, key: '👍' } },
    });
    const redacted = { content: {}, unsigned: { redacted_because: { sender: bob, content: { reason: 'a slip' } } } };
    expect(await event(second)).toMatchObject(redacted);
    const again = manager.sendReaction({ userId: bob, roomId, eventId: root, key: '👍' });
    await expect(again).resolves.toEqual({ eventId: reaction });
    const foreign = manager.redact({ userId: bob, roomId, eventId: reply });
    await expect(foreign).rejects.toMatchObject({ code: 'FORBIDDEN' });
  });
}
