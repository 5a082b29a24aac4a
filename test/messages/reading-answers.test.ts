import { describe, expect, it } from 'vitest';
import type { RawEvent } from '../../src/core/raw-event.js';
import { checkOptions } from '../../src/core/validation.js';
import { encodeCursor } from '../../src/messages/cursor.js';
import { getRoomMessagesSchema } from '../../src/messages/get-room-messages-options.js';
import type { GetRoomMessagesOptions } from '../../src/messages/get-room-messages-options.js';
import { PageReader } from '../../src/messages/page-reader.js';
import { rejection } from '../support/rejection.js';
import { json, matrixError } from '../support/scripted-fetch.js';
import { alice, httpOnScript, room } from './support/http-on-script.js';

const { signal: never } = new AbortController();
const event = (n: number, more: Partial<RawEvent> = {}): RawEvent => {
  const common = { type: 'm.room.message', sender: alice, origin_server_ts: n };
  return { event_id: `$${n}`, ...common, content: { body: `${n}` }, ...more };
};
const reaction = (n: number, key: unknown, more: object = {}): RawEvent => {
  const relation = { rel_type: 'm.annotation', event_id: '$1', key, ...more };
  return event(n, { type: 'm.reaction', sender: `@${n}:x`, content: { 'm.relates_to': relation } });
};

function setUp(...answers: (Response | object)[]) {
  const { http, requests, session } = httpOnScript(
    answers.map((answer) => (answer instanceof Response ? answer : json(answer))),
  );
  const read = (options: Partial<GetRoomMessagesOptions>) =>
    new PageReader(http, () => undefined).read({ session }, { roomId: room, ...options }, never);
  return { read, requests };
}

describe('reading forwards', () => {
  it('ends where the homeserver has no further position, also one that repeats the last', async () => {
    const { read, requests } = setUp({ end: 'at0' }, { chunk: [event(1)], end: 'at1' }, { chunk: [], end: 'at1' });
    const page = await read({ after: '$0' });
    expect([page.messages.map(({ text }) => text), page.end, requests.length]).toEqual([['1'], undefined, 3]);
  });

  it('goes on through pages without messages, and gives up for this page after 50 requests', async () => {
    const pages = Array.from({ length: 51 }, (_, i) => ({ chunk: [reaction(i, '+')], end: `at${i + 1}` }));
    const { read, requests } = setUp({ end: 'at0' }, ...pages);
    const page = await read({ after: '$0' });
    expect([page.messages, requests.length]).toEqual([[], 51]);
    expect(page.end).toBeDefined();
  });

  it('says that a cursor is invalid when its event is gone, and that the event is unknown when it was asked for', async () => {
    const gone = () => setUp(matrixError(404, 'M_NOT_FOUND'));
    expect(await rejection(gone().read({ after: '$0' }))).toMatchObject({ code: 'NOT_FOUND' });
    const from = encodeCursor(`${room}\0after\0$0`, { beyond: '$1' });
    expect(await rejection(gone().read({ after: '$0', from }))).toMatchObject({ code: 'INVALID_CURSOR' });
  });
});

it('damaged events around an event and in a thread are left out', async () => {
  const around = { event: event(2), start: 's', events_before: [null, event(1)], events_after: [{}, 7], state: 'none' };
  const { messages } = await setUp(around).read({ around: '$2' });
  expect(messages.map(({ text }) => text)).toEqual(['2', '1']);
  const thread = setUp({ chunk: [event(3), null, { event_id: 7 }], next_batch: null }, { event: event(1), start: 's' });
  const page = await thread.read({ threadId: '$1' });
  expect([page.messages.map(({ text }) => text), page.end]).toEqual([['3', '1'], undefined]);
});

describe('reactions', () => {
  const messages = { chunk: [event(1)] };

  it('count each user once for a key, and nothing that is not a reaction to the message', async () => {
    const others = [
      reaction(2, 7),
      reaction(3, '+', { event_id: '$other' }),
      reaction(4, '+', { rel_type: 'm.x' }),
      event(5),
      null,
      { ...reaction(6, '+'), state_key: '' },
    ];
    const again = { ...reaction(7, '+'), event_id: '$again' };
    const own = { ...reaction(9, '__proto__'), sender: alice };
    const { read, requests } = setUp(messages, { chunk: [own, reaction(8, '+'), again, reaction(7, '+'), ...others] });
    const page = await read({ reactions: true, limit: 1 });
    expect(page.messages[0]?.reactions).toEqual([
      { key: '+', count: 2, userIds: ['@7:x', '@8:x'] },
      { key: '__proto__', count: 1, userIds: [alice], ownEventId: '$9' },
    ]);
    expect(decodeURIComponent(requests[1]?.url ?? '')).toContain('/relations/$1/m.annotation/m.reaction?');
  });

  it('that cannot be read fail the page', async () => {
    const { read } = setUp({ chunk: [event(1), event(2)] }, matrixError(403, 'M_FORBIDDEN'), { chunk: [] });
    expect(await rejection(read({ reactions: true, limit: 2 }))).toMatchObject({ code: 'FORBIDDEN' });
  });
});

it.each([
  { after: 'no id' },
  { around: 7 },
  { threadId: {} },
  { reactions: 'yes' },
  { after: '$1', threadId: '$1' },
  { around: '$1', from: 'x' },
  { reactions: true, limit: 101 },
])('%j is refused before any request', async (options) => {
  const check = () => checkOptions('getRoomMessages()', getRoomMessagesSchema, { roomId: room, ...options });
  expect(await rejection(check)).toMatchObject({ code: 'INVALID_OPTIONS' });
});
