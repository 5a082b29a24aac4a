import { describe, expect, it } from 'vitest';
import type { RawEvent } from '../../src/core/raw-event.js';
import { checkOptions } from '../../src/core/validation.js';
import { getRoomMessagesSchema } from '../../src/messages/get-room-messages-options.js';
import { PageReader } from '../../src/messages/page-reader.js';
import type { PageClient, PageDecryption } from '../../src/messages/page-request.js';
import { RoomTimeline } from '../../src/messages/room-timeline.js';
import { rejection } from '../support/rejection.js';
import { hang, json, matrixError } from '../support/scripted-fetch.js';
import { alice, httpOnScript, room } from './support/http-on-script.js';

const { signal: never } = new AbortController();

function messageAt(position: number, body = `message ${position}`): RawEvent {
  return {
    event_id: `$${position}`,
    type: 'm.room.message',
    sender: alice,
    origin_server_ts: position,
    content: { msgtype: 'm.text', body },
  };
}

function setUp(answers: Parameters<typeof httpOnScript>[0], decryption: PageDecryption = () => undefined) {
  const { http, requests, session, clock } = httpOnScript(answers);
  const pages = new PageReader(http, decryption);
  const query = () => new URL(requests[0]?.url ?? '').searchParams;
  return { pages, requests, session, clock, query };
}

/** A client with some messages in memory. */
function clientWith(events: readonly RawEvent[]) {
  const timeline = new RoomTimeline(100);
  timeline.append({
    roomId: room,
    membership: 'join',
    timeline: events,
    limited: true,
    prevBatch: 'before',
  } as Parameters<RoomTimeline['append']>[0]);
  const failures: unknown[] = [];
  const asked: string[] = [];
  const userSession: PageClient = {
    currentTimeline: (roomId) => {
      asked.push(roomId);
      return timeline;
    },
    memberOf: () => undefined,
    requestFailed: (error) => failures.push(error),
  };
  return { userSession, failures, asked };
}

describe('a page', () => {
  it('has up to 50 messages and starts at the newest, unless the call says otherwise', async () => {
    const { pages, session, query } = setUp([json({ chunk: [messageAt(2), messageAt(1)] })]);
    const page = await pages.read({ session }, { userId: alice, roomId: room }, never);
    expect([query().get('limit'), query().get('from')]).toEqual(['50', null]);
    expect(page).toMatchObject({ source: 'rest', messages: [{ eventId: '$2' }, { eventId: '$1' }] });
    expect(page.end).toBeUndefined();
  });

  it('takes null for no cursor, as databases return it', async () => {
    const { pages, session, query } = setUp([json({ chunk: [] })]);
    const options = checkOptions('getRoomMessages()', getRoomMessagesSchema, { roomId: room, from: null });
    await pages.read({ session }, options, never);
    expect(query().get('from')).toBeNull();
  });

  it('continues where the previous one ended, with its own limit and types', async () => {
    const topic: RawEvent = { ...messageAt(1), type: 'm.room.topic', state_key: '', content: { topic: 'x' } };
    const { pages, session, requests } = setUp([
      json({ chunk: [messageAt(3)], end: 'next' }),
      json({ chunk: [messageAt(2), topic] }),
    ]);
    const { end } = await pages.read({ session }, { roomId: room, limit: 1 }, never);
    const page = await pages.read({ session }, { roomId: room, limit: 7, from: end, types: ['state'] }, never);
    const { searchParams } = new URL(requests[1]?.url ?? '');
    expect([searchParams.get('from'), searchParams.get('limit')]).toEqual(['next', '7']);
    expect(page.messages).toMatchObject([{ eventId: '$1', type: 'state', eventType: 'm.room.topic' }]);
  });

  it("comes from the memory of the caller's client where that reaches far enough", async () => {
    const { pages, session, requests } = setUp([]);
    const { userSession, asked } = clientWith([messageAt(1), messageAt(2), messageAt(3)]);
    const page = await pages.read({ session, userSession }, { userId: alice, roomId: room, limit: 2 }, never);
    expect(page).toMatchObject({ source: 'synced', messages: [{ eventId: '$3' }, { eventId: '$2' }] });
    expect([requests.length, asked]).toEqual([0, [room]]);
  });

  it('is decrypted for the user who reads it', async () => {
    const asked: unknown[] = [];
    const { pages, session } = setUp([json({ chunk: [messageAt(1)] })], (...call) => {
      asked.push(call);
      return async (events) => events.map((event) => ({ ...event, content: { body: 'decrypted' } }));
    });
    const { messages } = await pages.read({ session }, { userId: alice, roomId: room }, never);
    expect(messages).toMatchObject([{ content: { body: 'decrypted' } }]);
    expect(asked).toEqual([[alice, room, never]]);
  });

  it('that cannot be read rejects, and tells the client, whose token may be invalid', async () => {
    const { pages, session } = setUp([matrixError(403, 'M_FORBIDDEN'), matrixError(403, 'M_FORBIDDEN')]);
    const { userSession, failures } = clientWith([]);
    const error = await rejection(pages.read({ session, userSession }, { roomId: room }, never));
    expect(error).toMatchObject({ code: 'FORBIDDEN', roomId: room });
    expect(failures).toEqual([error]);
    expect(await rejection(pages.read({ session }, { roomId: room }, never))).toMatchObject({ code: 'FORBIDDEN' });
  });

  it('ends with the signal of the call', async () => {
    const { pages, session, clock } = setUp([hang]);
    const controller = new AbortController();
    const failure = rejection(pages.read({ session }, { roomId: room }, controller.signal));
    await clock.advance(0);
    controller.abort();
    expect(await failure).toMatchObject({ code: 'ABORTED' });
    expect(clock.pendingTimers).toBe(0);
  });
});
