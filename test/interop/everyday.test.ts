import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { meet, rawEvent, received, withEachForeignClient } from './support/meeting.js';

const decrypted = { encrypted: true, decryption: { state: 'decrypted' } };

withEachForeignClient((name) => {
  it('reads and writes text both ways, and the homeserver sees none of it', async () => {
    const { manager, alice, bob, inbox, roomId, say } = await meet(name);
    const ours = await say('from Alice, with ünïcödé 🦊');
    expect(await bob.readEvent(ours)).toMatchObject({
      sender: alice,
      type: 'm.room.message',
      encrypted: true,
      content: { msgtype: 'm.text', body: 'from Alice, with ünïcödé 🦊' },
    });
    const theirs = await bob.say(roomId, 'from Bob, with ünïcödé 🦊');
    expect(await received(inbox, theirs)).toMatchObject({
      ...decrypted,
      sender: bob.userId,
      type: 'message',
      content: { msgtype: 'm.text', body: 'from Bob, with ünïcödé 🦊' },
    });
    for (const eventId of [ours, theirs]) {
      const { type, content } = await rawEvent(manager, alice, roomId, eventId);
      expect(type).toBe('m.room.encrypted');
      expect(JSON.stringify(content)).not.toContain('with ünïcödé');
    }
    const { messages } = await manager.getRoomMessages({ userId: alice, roomId });
    expect(messages.filter(({ eventType }) => eventType === 'm.room.message')).toMatchObject([
      { eventId: theirs, ...decrypted, content: { body: 'from Bob, with ünïcödé 🦊' } },
      { eventId: ours, ...decrypted, content: { body: 'from Alice, with ünïcödé 🦊' } },
    ]);
  });

  it('understands edits, replies and reactions, and ours understands those of it', async () => {
    const { manager, alice, bob, inbox, roomId, say } = await meet(name);
    const relations = (eventId: string) => ({
      edit: {
        msgtype: 'm.text',
        body: '* as edited',
        'm.new_content': { msgtype: 'm.text', body: 'as edited' },
        'm.relates_to': { rel_type: 'm.replace', event_id: eventId },
      },
      reply: { msgtype: 'm.text', body: 'a reply', 'm.relates_to': { 'm.in_reply_to': { event_id: eventId } } },
      reaction: { 'm.relates_to': { rel_type: 'm.annotation', event_id: eventId, key: '👍' } },
    });

    const original = await say('as first written');
    await bob.readEvent(original);
    const ours = relations(original);
    for (const content of [ours.edit, ours.reply]) {
      const { eventId } = await manager.sendMessage({ userId: alice, roomId, content });
      expect(await bob.readEvent(eventId)).toMatchObject({ encrypted: true, content });
    }
    const reaction = { userId: alice, roomId, type: 'm.reaction', content: ours.reaction };
    const { eventId: reactionId } = await manager.sendMessage(reaction);
    expect(await bob.readEvent(reactionId)).toMatchObject({ type: 'm.reaction', content: ours.reaction });

    const theirOriginal = await bob.say(roomId, 'as Bob first wrote it');
    const theirs = relations(theirOriginal);
    const theirEdit = await bob.send(roomId, theirs.edit);
    expect(await received(inbox, theirEdit)).toMatchObject({ ...decrypted, content: theirs.edit });
    const theirReply = await bob.send(roomId, theirs.reply);
    expect(await received(inbox, theirReply)).toMatchObject({ ...decrypted, content: theirs.reply });
    const theirReaction = await bob.send(roomId, theirs.reaction, 'm.reaction');
    expect(await received(inbox, theirReaction)).toMatchObject({
      type: 'reaction',
      key: '👍',
      content: theirs.reaction,
    });
    const { messages } = await manager.getRoomMessages({ userId: alice, roomId });
    expect(messages.find(({ eventId }) => eventId === theirOriginal)).toMatchObject({
      ...decrypted,
      edited: { eventId: theirEdit },
      content: { msgtype: 'm.text', body: 'as edited' },
    });
  });

  it('exchanges files, of which the homeserver has the ciphertext', async () => {
    const { manager, alice, bob, inbox, roomId } = await meet(name);
    const bytes = randomBytes(70_001);
    const { eventId } = await manager.sendFile({
      userId: alice,
      roomId,
      file: { body: bytes, name: 'from Alice.bin', mimeType: 'application/x-interop' },
    });
    const { content } = await bob.readEvent(eventId);
    expect(content).toMatchObject({
      msgtype: 'm.file',
      body: 'from Alice.bin',
      info: { mimetype: 'application/x-interop', size: bytes.length },
    });
    const { base64 } = await bob.call<{ base64: string }>('download', { content });
    expect(Buffer.from(base64, 'base64').equals(bytes)).toBe(true);

    const theirs = randomBytes(50_001);
    const file = { roomId, name: 'from Bob.bin', mimeType: 'application/x-interop', base64: theirs.toString('base64') };
    const sent = await bob.call<{ eventId: string }>('sendFile', file);
    const event = await received(inbox, sent.eventId);
    if (event.type !== 'message') throw new Error(`expected a message, got ${event.type}`);
    const downloaded = await manager.downloadFile({ userId: alice, roomId, content: event.content });
    expect(downloaded).toMatchObject({ name: 'from Bob.bin', mimeType: 'application/x-interop', size: theirs.length });
    expect((await downloaded.buffer()).equals(theirs)).toBe(true);
    const { url } = event.content['file'] as { url: string };
    const asPlainFile = { msgtype: 'm.file', body: 'as stored', url };
    const stored = await manager.downloadFile({ userId: alice, content: asPlainFile });
    const ciphertext = await stored.buffer();
    expect(ciphertext.length).toBe(theirs.length);
    expect(ciphertext.equals(theirs)).toBe(false);
  });
});
