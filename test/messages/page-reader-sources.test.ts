import { describe, expect, it } from 'vitest';
import type { RawEvent } from '../../src/core/raw-event.js';
import { PageReader } from '../../src/messages/page-reader.js';
import type { GetRoomMessagesOptions } from '../../src/messages/get-room-messages-options.js';
import type { MessagePage, PageDecryption } from '../../src/messages/page-request.js';
import { RoomTimeline } from '../../src/messages/room-timeline.js';
import { json, matrixError } from '../support/scripted-fetch.js';
import { rejection } from '../support/rejection.js';
import { alice, httpOnScript, room } from './support/http-on-script.js';

const event = (n: number, more: Partial<RawEvent> = {}): RawEvent => {
  const common = { type: 'm.room.message', sender: alice, origin_server_ts: n };
  return { event_id: `$${n}`, ...common, content: { body: `${n}` }, ...more };
};
const create = (n: number): RawEvent => event(n, { type: 'm.room.create', state_key: '' });

function timelineOf(events: readonly RawEvent[], prevBatch?: string): RoomTimeline {
  const timeline = new RoomTimeline(100);
  const batch = { roomId: room, membership: 'join', provenance: 'live', limited: false, ephemeral: [] } as const;
  timeline.append({ ...batch, timeline: events, prevBatch });
  return timeline;
}

type Request = Partial<GetRoomMessagesOptions> & { readonly decrypt?: ReturnType<PageDecryption> };
const { signal: never } = new AbortController();

/** Pages from a homeserver that gives these answers. */
function setUp(...answers: (Response | object)[]) {
  const malformed: number[] = [];
  const { clock, diagnostics, http, requests, session } = httpOnScript(
    answers.map((answer) => (answer instanceof Response ? answer : json(answer))),
  );
  diagnostics.subscribe('malformed', ({ parts }) => malformed.push(parts));
  const fetch = (
    { decrypt, signal = never, ...options }: Request = {},
    timeline?: RoomTimeline,
  ): Promise<MessagePage> => {
    const userSession = { currentTimeline: () => timeline, memberOf: () => undefined, requestFailed: () => {} };
    const request = { roomId: room, limit: 10, ...options };
    return new PageReader(http, () => decrypt).read({ session, userSession }, request, signal);
  };
  const asked = (): { at: string }[] =>
    requests.map(({ url }) => {
      const { pathname, searchParams } = new URL(url);
      const query = Object.fromEntries(searchParams);
      return { at: decodeURIComponent(pathname.split('/').slice(6).join('/')), ...query };
    });
  return { clock, fetch, asked, requests, malformed };
}

const idsOf = ({ messages }: MessagePage): string[] => messages.map(({ eventId }) => eventId);
const filter = '{"lazy_load_members":true}';

describe('a page from the timeline alone', () => {
  it('is newest first and asks the homeserver for nothing', async () => {
    const { fetch, asked } = setUp();
    const page = await fetch({ limit: 2 }, timelineOf([event(1), event(2), event(3)], 'p1'));
    expect([idsOf(page), page.source, asked()]).toEqual([['$3', '$2'], 'synced', []]);
    const next = await fetch({ limit: 1, from: page.end }, timelineOf([event(1), event(2), event(3)], 'p1'));
    expect([idsOf(next), next.source, asked()]).toEqual([['$1'], 'synced', []]);
    expect(next.end).toBeDefined();
  });

  it('has no end at the creation of the room', async () => {
    const { fetch } = setUp();
    const timeline = timelineOf([create(1), event(2)]);
    const page = await fetch({}, timeline);
    expect([idsOf(page), page.source, 'end' in page]).toEqual([['$2'], 'synced', false]);
    const first = await fetch({ limit: 1, types: ['state', 'message'] }, timeline);
    expect(idsOf(first)).toEqual(['$2']);
    const last = await fetch({ limit: 1, types: ['state', 'message'], from: first.end }, timeline);
    expect([idsOf(last), 'end' in last]).toEqual([['$1'], false]);
  });

  it('that begins at the creation of the room is empty', async () => {
    const { fetch, asked } = setUp();
    const early = await fetch({ limit: 1 }, timelineOf([event(1), event(2)]));
    const page = await fetch({ from: early.end }, timelineOf([create(0), event(2, { event_id: '$2' })]));
    expect([idsOf(page), page.source, asked()]).toEqual([[], 'synced', []]);
  });

  it('shows edits and redactions that the timeline knows', async () => {
    const { fetch } = setUp();
    const edit = event(2, {
      content: { 'm.new_content': { body: 'edited' }, 'm.relates_to': { rel_type: 'm.replace', event_id: '$1' } },
    });
    const page = await fetch({}, timelineOf([create(0), event(1), edit]));
    expect(page.messages).toMatchObject([{ eventId: '$1', content: { body: 'edited' }, edited: { eventId: '$2' } }]);
  });

  it('is decrypted first', async () => {
    const { fetch } = setUp();
    const decrypt = async (events: readonly RawEvent[]): Promise<RawEvent[]> =>
      events.map((one) => ({ ...one, content: { body: `clear ${one.event_id}` } }));
    const page = await fetch({ limit: 1, decrypt }, timelineOf([event(1), event(2)]));
    expect(page.messages).toMatchObject([{ content: { body: 'clear $2' } }]);
  });
});

describe('a page from the homeserver', () => {
  it('is asked for newest first, with its limit', async () => {
    const { fetch, asked } = setUp({ chunk: [event(3), event(2)], end: 't2' });
    const page = await fetch({ limit: 2 });
    expect([idsOf(page), page.source]).toEqual([['$3', '$2'], 'rest']);
    expect(asked()).toEqual([{ at: 'messages', dir: 'b', limit: '2', filter }]);
  });

  it('goes on from the token in its cursor, for what is missing, up to the beginning', async () => {
    const { fetch, asked } = setUp(
      { chunk: [event(9), event(8)], end: 't8' },
      { chunk: [event(7), event(6, { type: 'm.reaction' })], end: 't6' },
      { chunk: [event(5)] },
    );
    const { end } = await fetch({ limit: 2 });
    const page = await fetch({ limit: 3, from: end });
    expect([idsOf(page), page.source, 'end' in page]).toEqual([['$7', '$5'], 'rest', false]);
    expect(asked().slice(1)).toEqual([
      { at: 'messages', dir: 'b', from: 't8', limit: '3', filter },
      { at: 'messages', dir: 'b', from: 't6', limit: '2', filter },
    ]);
  });

  it('is decrypted, and its events that are none are left out and counted', async () => {
    const { fetch, malformed } = setUp({ chunk: [event(2), null, { type: 'x' }, event(1)] });
    const decrypt = async (events: readonly RawEvent[]): Promise<RawEvent[]> =>
      events.map((one) => ({ ...one, content: { body: 'clear' } }));
    const page = await fetch({ decrypt });
    expect(page.messages).toMatchObject([{ content: { body: 'clear' } }, { content: { body: 'clear' } }]);
    expect(malformed).toEqual([2]);
  });

  it.each([{ chunk: null, end: null }, {}])('is the last one where the answer is %j', async (answer) => {
    const { fetch } = setUp(answer);
    expect(await fetch()).toEqual({ messages: [], source: 'rest' });
  });

  it('is an error where it ends where it began', async () => {
    const { fetch, requests } = setUp({ chunk: [], end: 't1' }, { chunk: [], end: 't1' });
    const error = await rejection(fetch());
    expect(error).toMatchObject({ code: 'INVALID_RESPONSE', userId: alice, roomId: room });
    expect(requests).toHaveLength(2);
  });

  it('is short after fifty requests, and its cursor goes on', async () => {
    const answers = Array.from({ length: 51 }, (_, n) => ({ chunk: [], end: `t${n}` }));
    const { fetch, requests, asked } = setUp(...answers);
    const { end } = await fetch();
    expect(requests).toHaveLength(50);
    await rejection(fetch({ from: end, signal: AbortSignal.abort() }));
    expect(requests).toHaveLength(50);
    const page = fetch({ from: end });
    page.catch(() => {});
    while (requests.length < 51) await new Promise(setImmediate);
    expect(asked()[50]).toMatchObject({ from: 't49' });
  });

  it('ends with its signal before it asks', async () => {
    const { fetch, requests } = setUp();
    const error = await rejection(fetch({ signal: AbortSignal.abort() }));
    expect(error).toMatchObject({ code: 'ABORTED' });
    expect(error.message).toContain(room);
    expect(requests).toEqual([]);
  });
});

describe('a page that begins in the timeline and ends at the homeserver', () => {
  it('goes on from the token before the timeline', async () => {
    const { fetch, asked } = setUp({ chunk: [event(2), event(1)] });
    const page = await fetch({}, timelineOf([event(3), event(4)], 'p3'));
    expect([idsOf(page), page.source, 'end' in page]).toEqual([['$4', '$3', '$2', '$1'], 'mixed', false]);
    expect(asked()).toEqual([{ at: 'messages', dir: 'b', from: 'p3', limit: '8', filter }]);
  });

  it('goes on from the oldest event where no token is known, and leaves that one out', async () => {
    const { fetch, asked } = setUp(
      { end: 'at3', event: {} },
      { chunk: [event(3), event(2)], end: 't2' },
      { chunk: [] },
    );
    const page = await fetch({}, timelineOf([event(3), event(4)]));
    expect([idsOf(page), page.source]).toEqual([['$4', '$3', '$2'], 'mixed']);
    expect(asked()).toEqual([
      { at: 'context/$3', limit: '0', filter },
      { at: 'messages', dir: 'b', from: 'at3', limit: '9', filter },
      { at: 'messages', dir: 'b', from: 't2', limit: '7', filter },
    ]);
  });

  it('is from the homeserver where the timeline has nothing that is wanted', async () => {
    const { fetch } = setUp({ chunk: [event(1)] });
    const page = await fetch({}, timelineOf([event(2, { type: 'm.reaction' })], 'p2'));
    expect([idsOf(page), page.source]).toEqual([['$1'], 'rest']);
  });

  it('is from the timeline where the homeserver has nothing more', async () => {
    const { fetch } = setUp({ chunk: [] });
    const page = await fetch({}, timelineOf([event(2)], 'p2'));
    expect([idsOf(page), page.source]).toEqual([['$2'], 'synced']);
  });

  it('is read from the homeserver alone where their order is not certain', async () => {
    const { fetch, asked } = setUp({ chunk: [event(9)] }, { chunk: [event(9), event(4), event(3)] });
    const page = await fetch({}, timelineOf([event(3), event(4)], 'p3'));
    expect([idsOf(page), page.source]).toEqual([['$9', '$4', '$3'], 'rest']);
    expect(asked()[1]).toEqual({ at: 'messages', dir: 'b', limit: '10', filter });
  });

  it('trusts the order where the times are equal, and in what comes after the first answer', async () => {
    const { fetch } = setUp({ chunk: [event(3, { event_id: '$same' })], end: 't' }, { chunk: [event(9)] });
    const page = await fetch({}, timelineOf([event(3), event(4)], 'p3'));
    expect([idsOf(page), page.source]).toEqual([['$4', '$3', '$same', '$9'], 'mixed']);
  });

  it.each([
    ['is out of order', () => timelineOf([event(3), event(2)], 'p')],
    ['is empty', () => new RoomTimeline(10)],
    ['is none', () => undefined],
  ])('does not use a timeline that %s', async (_which, timeline) => {
    const { fetch, asked } = setUp({ chunk: [event(1)] });
    const page = await fetch({}, timeline());
    expect([idsOf(page), page.source]).toEqual([['$1'], 'rest']);
    expect(asked()).toEqual([{ at: 'messages', dir: 'b', limit: '10', filter }]);
  });

  it('does not use the timeline for a cursor of the homeserver', async () => {
    const { fetch, asked } = setUp({ chunk: [event(9)], end: 't9' }, { chunk: [event(8)] });
    const { end } = await fetch({ limit: 1 });
    const page = await fetch({ from: end }, timelineOf([event(8), event(9)], 'p8'));
    expect([idsOf(page), page.source]).toEqual([['$8'], 'rest']);
    expect(asked()[1]).toMatchObject({ from: 't9' });
  });
});

describe('a cursor into the timeline of another process', () => {
  const cursor = async (): Promise<string | undefined> =>
    (await setUp().fetch({ limit: 1 }, timelineOf([event(4), event(5)]))).end;

  it('is found at the homeserver where this timeline does not reach that far', async () => {
    const { fetch, asked } = setUp({ end: 'at5', event: {} }, { chunk: [event(5), event(4)] });
    const page = await fetch({ limit: 3, from: await cursor() }, timelineOf([event(8)], 'p8'));
    expect([idsOf(page), page.source]).toEqual([['$4'], 'rest']);
    expect(asked()).toMatchObject([{ at: 'context/$5' }, { from: 'at5', limit: '4' }]);
  });

  it.each([{ event: {} }, { event: {}, end: null }, { event: {}, end: 7 }])(
    'is an error where the homeserver tells no token, as in %j, and no page of newer messages',
    async (context) => {
      const { clock, fetch, asked } = setUp(context, context, context, context, { chunk: [event(9)] });
      const reading = rejection(fetch({ from: await cursor() }));
      await clock.advance(60_000);
      expect(await reading).toMatchObject({ code: 'INVALID_RESPONSE', userId: alice, roomId: room });
      expect(asked().every(({ at }) => at === 'context/$5')).toBe(true);
    },
  );

  it('is asked for again after a failure, as the page is', async () => {
    const answers = [json({}, 502), { end: 'at5', event: {} }, json({}, 502), { chunk: [event(4)] }];
    const { clock, fetch, requests } = setUp(...answers);
    const page = fetch({ from: await cursor() });
    await clock.advance(10_000);
    expect(idsOf(await page)).toEqual(['$4']);
    expect(requests).toHaveLength(4);
  });

  it('is no cursor of this user where the homeserver does not know the event', async () => {
    const { fetch } = setUp(matrixError(404, 'M_NOT_FOUND'));
    const error = await rejection(fetch({ from: await cursor() }));
    expect(error).toMatchObject({ code: 'INVALID_CURSOR', roomId: room, cause: { code: 'NOT_FOUND' } });
  });

  it('is no cursor of this user where they may read the room, but not the event, such as one of an ignored user', async () => {
    const { fetch, asked } = setUp(matrixError(403, 'M_FORBIDDEN'), { chunk: [event(9)] });
    const error = await rejection(fetch({ from: await cursor() }));
    expect(error).toMatchObject({ code: 'INVALID_CURSOR', roomId: room, cause: { code: 'FORBIDDEN' } });
    expect(asked()[1]).toMatchObject({ at: 'messages', limit: '1' });
  });

  it('is kept where they may not read the room', async () => {
    const { fetch } = setUp(matrixError(403, 'M_FORBIDDEN'), matrixError(403, 'M_FORBIDDEN'));
    expect(await rejection(fetch({ from: await cursor() }))).toMatchObject({
      code: 'FORBIDDEN',
      userId: alice,
      roomId: room,
    });
  });
});
