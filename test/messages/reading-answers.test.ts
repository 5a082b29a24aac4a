import { describe, expect, it } from 'vitest';
import type { RawEvent } from '../../src/core/raw-event.js';
import { checkOptions } from '../../src/core/validation.js';
import { encodeCursor } from '../../src/messages/cursor.js';
import { getRoomMessagesSchema } from '../../src/messages/get-room-messages-options.js';
import type { GetRoomMessagesOptions } from '../../src/messages/get-room-messages-options.js';
import type { MessagePage } from '../../src/messages/page-request.js';
import { PageReader } from '../../src/messages/page-reader.js';
import { RoomTimeline } from '../../src/messages/room-timeline.js';
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
  const read = (options: Partial<GetRoomMessagesOptions>, timeline?: RoomTimeline) => {
    const userSession = { currentTimeline: () => timeline, memberOf: () => undefined, requestFailed: () => {} };
    return new PageReader(http, () => undefined).read({ session, userSession }, { roomId: room, ...options }, never);
  };
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

describe('reading forwards from memory, where an event arrived late', () => {
  const ids = ({ messages }: MessagePage): string[] => messages.map(({ eventId }) => eventId);
  const batch = {
    roomId: room,
    membership: 'join',
    provenance: 'live',
    limited: false,
    ephemeral: [],
    prevBatch: undefined,
  } as const;
  const arrived = (...events: readonly RawEvent[]): RoomTimeline => {
    const timeline = new RoomTimeline(100);
    timeline.append({ ...batch, timeline: events });
    return timeline;
  };
  const timeline = arrived(event(1), event(3), event(2), event(4));

  it.each([
    [1, ['$3'], ['$2', '$4'], '$1'],
    [2, ['$3', '$2'], ['$4'], '$3'],
    [3, ['$3', '$2', '$4'], [], undefined],
  ])('gives each event once, wherever a page of %i events ends', async (limit, first, rest, anchor) => {
    const chunk = [event(2), event(3), event(4)].filter(({ event_id: id }) => id > (anchor ?? ''));
    const { read, requests } = setUp(
      { end: 'at' },
      { chunk: chunk.slice(0, 1), end: 'next' },
      { chunk: chunk.slice(1) },
    );
    const page = await read({ after: '$1', limit }, timeline);
    expect([ids(page), page.source]).toEqual([first, 'synced']);
    if (anchor === undefined) return expect(page.end).toBeUndefined();
    const { end } = page;
    expect(ids(await read({ after: '$1', from: end }, timeline))).toEqual(rest);
    expect(requests).toHaveLength(0);
    expect(ids(await read({ after: '$1', from: end }))).toEqual(rest);
    expect(decodeURIComponent(requests[0]?.url ?? '')).toContain(`/context/${anchor}?`);
  });

  it('keeps in the cursor of a page from the homeserver what is still to be left out', async () => {
    const { end } = await setUp().read({ after: '$1', limit: 1 }, timeline);
    const { read } = setUp({ end: 'at1' }, { chunk: [event(2)], end: 'at2' }, { chunk: [event(3), event(4)] });
    const page = await read({ after: '$1', limit: 1, from: end });
    expect([ids(page), ids(await read({ after: '$1', from: page.end }))]).toEqual([['$2'], ['$4']]);
  });

  it('reads from the homeserver alone where the cursor would have to name too many events', async () => {
    const late = Array.from({ length: 60 }, (_, i) => event(i + 2));
    const { read } = setUp({ end: 'at1' }, { chunk: late.slice(0, 40), end: 'at41' });
    const page = await read({ after: '$1', limit: 40 }, arrived(event(1), event(100), ...late));
    expect([ids(page).at(-1), page.source]).toEqual(['$41', 'rest']);
    const lateOnly = arrived(event(1), event(100), event(2), event(3));
    for (let n = 0; n < 100; n++) lateOnly.append({ ...batch, timeline: [event(n + 4)] });
    expect(lateOnly.has('$100')).toBe(false);
    const other = setUp({ end: 'at9' }, { chunk: [event(10)] });
    expect((await other.read({ after: '$9', limit: 1 }, lateOnly)).source).toBe('rest');
  });
});

it('a page around an event has no end at the creation of the room', async () => {
  const create = event(1, { type: 'm.room.create', state_key: '' });
  for (const context of [{ event: event(2), events_before: [create] }, { event: create }]) {
    expect(await setUp({ start: 's', ...context }).read({ around: '$2' })).not.toHaveProperty('end');
  }
  expect(await setUp({ start: 's', event: event(2) }).read({ around: '$2' })).toHaveProperty('end');
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

  it('are read up to a thousand, however few the homeserver returns at once', async () => {
    const { read, requests } = setUp(
      messages,
      { chunk: [reaction(3, '+'), reaction(2, '-')], next_batch: 'older' },
      { chunk: [reaction(1, '-')], next_batch: 'older' }, // a position that does not move
    );
    const page = await read({ reactions: true, limit: 1 });
    expect(page.messages[0]?.reactions).toMatchObject([
      { key: '-', userIds: ['@1:x', '@2:x'] },
      { key: '+', userIds: ['@3:x'] },
    ]);
    const queries = requests.slice(1).map(({ url }) => Object.fromEntries(new URL(url).searchParams));
    expect(queries).toMatchObject([{ limit: '1000' }, { from: 'older', limit: '998' }]);
    const full = Array.from({ length: 999 }, (_, i) => reaction(i, '+'));
    const many = setUp(messages, { chunk: full, next_batch: 'a' }, { chunk: [reaction(999, '+')], next_batch: 'b' });
    expect((await many.read({ reactions: true, limit: 1 })).messages[0]?.reactions).toMatchObject([{ count: 1_000 }]);
    expect(many.requests).toHaveLength(3);
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
