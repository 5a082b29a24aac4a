import type { RawEvent } from './responses.js';
import type { Suite } from './test-api.js';
import { timelineLimit } from './timelines.js';

const edit = (eventId: string, text: string): Record<string, unknown> => ({
  msgtype: 'm.text',
  body: `* ${text}`,
  'm.new_content': { msgtype: 'm.text', body: text },
  'm.relates_to': { rel_type: 'm.replace', event_id: eventId },
});

const reaction = (eventId: string): Record<string, unknown> => ({
  'm.relates_to': { rel_type: 'm.annotation', event_id: eventId, key: '👍' },
});

const find = (events: readonly RawEvent[], eventId: string): RawEvent | undefined =>
  events.find((event) => event.event_id === eventId);

export function relations({ describe, it, expect, world }: Suite): void {
  describe('transaction ids', () => {
    it('are in `unsigned` only for the sending device, in sync and in /messages', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([bob]);
      const { event_id: eventId } = (await alice.send(roomId, { msgtype: 'm.text', body: 'x' }, { txnId: 'mine' }))
        .body;
      const sameDevice = await alice.logInAgain(alice.deviceId);
      const otherDevice = await alice.logInAgain();
      for (const session of [alice, sameDevice, otherDevice, bob]) {
        const own = session === alice || session === sameDevice ? 'mine' : undefined;
        const { timeline } = await session.syncRoom(roomId);
        expect(find(timeline.events, eventId)?.unsigned?.['transaction_id']).toBe(own);
        const { chunk } = await session.messages(roomId, { limit: 5 });
        expect(find(chunk, eventId)?.unsigned?.['transaction_id']).toBe(own);
      }
    });
  });

  describe('redactions', () => {
    const versions = { '10': 'at the top of the event', '11': 'in the content' };
    for (const [room_version, place] of Object.entries(versions)) {
      it(`say what they redact ${place} in room version ${room_version}, in sync and in /messages`, async () => {
        const [alice, bob] = await (await world()).newUsers();
        const roomId = await alice.createRoom([bob], { room_version });
        const eventId = await alice.say(roomId, 'regretted');
        const { next_batch: since } = await bob.sync();
        const redactionId = await alice.redact(roomId, eventId, { reason: 'typo' });
        const { timeline } = await bob.syncRoom(roomId, { since });
        const { chunk } = await bob.messages(roomId, { limit: 1 });
        for (const redaction of [timeline.events[0], chunk[0]]) {
          expect(redaction).toMatchObject({ type: 'm.room.redaction', event_id: redactionId, sender: alice.userId });
          expect(redaction?.content['reason']).toBe('typo');
          const where = room_version === '10' ? redaction?.redacts : redaction?.content['redacts'];
          expect(where).toBe(eventId);
        }
      });
    }

    it('prune the event in later responses of sync and /messages', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([bob]);
      const { next_batch: since } = await bob.sync();
      const eventId = await alice.say(roomId, 'regretted');
      const redactionId = await alice.redact(roomId, eventId, { reason: 'typo' });
      const { timeline } = await bob.syncRoom(roomId, { since });
      const { chunk } = await bob.messages(roomId, { limit: 5 });
      for (const event of [find(timeline.events, eventId), find(chunk, eventId)]) {
        expect(event?.content).toEqual({});
        expect(event).toMatchObject({ type: 'm.room.message', sender: alice.userId });
        expect(event?.unsigned?.['redacted_because']).toMatchObject({
          type: 'm.room.redaction',
          event_id: redactionId,
          content: { reason: 'typo' },
        });
      }
    });

    it('of other users’ events need the power level', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([bob]);
      const ofAlice = await alice.say(roomId, 'by alice');
      const ofBob = await bob.say(roomId, 'by bob');
      const url = (eventId: string): string =>
        `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/redact/${encodeURIComponent(eventId)}/t1`;
      expect((await bob.http.put(url(ofAlice))).status).toBe(403);
      expect((await alice.http.put(url(ofBob))).status).toBe(200);
    });
  });

  describe('edits', () => {
    it('are events of their own in sync and in /messages', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([bob]);
      const eventId = await alice.say(roomId, 'frist');
      const { next_batch: since } = await bob.sync();
      const { event_id: editId } = (await alice.send(roomId, edit(eventId, 'first'))).body;
      const { timeline } = await bob.syncRoom(roomId, { since });
      expect(timeline.events.map((event) => event.event_id)).toEqual([editId]);
      expect(timeline.events[0]?.content).toEqual(edit(eventId, 'first'));
      const { chunk } = await bob.messages(roomId, { limit: 2 });
      expect(chunk.map((event) => event.event_id)).toEqual([editId, eventId]);
    });

    it('are bundled into their event, the latest one, in /messages and limited syncs; its own content stays', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([bob]);
      const { next_batch: since } = await bob.sync();
      for (const text of ['too', 'much']) await alice.say(roomId, text);
      const eventId = await alice.say(roomId, 'frist');
      await alice.send(roomId, edit(eventId, 'furst'));
      const { event_id: latest } = (await alice.send(roomId, edit(eventId, 'first'))).body;
      const { chunk } = await bob.messages(roomId, { limit: 5 });
      const { timeline } = await bob.syncRoom(roomId, { since, filter: timelineLimit(4) });
      expect(timeline.limited).toBe(true);
      for (const event of [find(chunk, eventId), find(timeline.events, eventId)]) {
        expect(event?.content).toEqual({ msgtype: 'm.text', body: 'frist' });
        expect(event?.unsigned?.['m.relations']).toMatchObject({
          'm.replace': { event_id: latest, sender: alice.userId, content: edit(eventId, 'first') },
        });
      }
    });

    it('by others than the sender are not bundled', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([bob]);
      const eventId = await alice.say(roomId, 'mine');
      await bob.send(roomId, edit(eventId, 'hijacked'));
      const { chunk } = await alice.messages(roomId, { limit: 5 });
      expect(find(chunk, eventId)?.unsigned?.['m.relations']).toBeUndefined();
    });

    it('that are redacted are no longer bundled', async () => {
      const alice = await (await world()).newUser();
      const roomId = await alice.createRoom();
      const eventId = await alice.say(roomId, 'first');
      const { event_id: editId } = (await alice.send(roomId, edit(eventId, 'second'))).body;
      await alice.redact(roomId, editId);
      const { chunk } = await alice.messages(roomId, { limit: 5 });
      expect(find(chunk, eventId)?.unsigned?.['m.relations']).toBeUndefined();
    });
  });

  describe('reactions', () => {
    it('are events of type m.reaction, in sync and in /messages', async () => {
      const [alice, bob] = await (await world()).newUsers();
      const roomId = await alice.createRoom([bob]);
      const eventId = await alice.say(roomId, 'like this');
      const { next_batch: since } = await alice.sync();
      const sent = await bob.send(roomId, reaction(eventId), { type: 'm.reaction' });
      const { timeline } = await alice.syncRoom(roomId, { since, filter: timelineLimit(10) });
      const { chunk } = await alice.messages(roomId, { limit: 1 });
      for (const event of [timeline.events[0], chunk[0]]) {
        expect(event).toMatchObject({
          type: 'm.reaction',
          event_id: sent.body.event_id,
          sender: bob.userId,
          content: reaction(eventId),
        });
      }
    });

    it('of the same user with the same key are refused: 400 M_DUPLICATE_ANNOTATION', async () => {
      const alice = await (await world()).newUser();
      const roomId = await alice.createRoom();
      const eventId = await alice.say(roomId, 'like this');
      expect((await alice.send(roomId, reaction(eventId), { type: 'm.reaction' })).status).toBe(200);
      const again = await alice.send(roomId, reaction(eventId), { type: 'm.reaction' });
      expect(again).toMatchObject({ status: 400, body: { errcode: 'M_DUPLICATE_ANNOTATION' } });
    });
  });
}
