import { describe, expect, it } from 'vitest';
import { ReceiptSender } from '../../src/ephemeral/receipt-sender.js';
import type { ReceiptCaller } from '../../src/ephemeral/receipt-sender.js';
import { json, matrixError } from '../support/scripted-fetch.js';
import { rejection } from '../support/rejection.js';
import { alice, httpOnScript, room, sessionOf } from '../messages/support/http-on-script.js';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const order = ['$1', '$2', '$3'];
const isNotAfter = (a: string, b: string): boolean | undefined =>
  order.includes(a) && order.includes(b) ? order.indexOf(a) <= order.indexOf(b) : undefined;
const userSession: NonNullable<ReceiptCaller['userSession']> = { timelines: { get: () => ({ isNotAfter }) } };

function setUp(answers: Parameters<typeof httpOnScript>[0] = [], maxSent?: number) {
  const script = [...answers, ...Array.from({ length: 10 }, () => () => json({}))];
  const { http, asked, requests, session } = httpOnScript(script);
  const receipts = new ReceiptSender(http, maxSent);
  const send = (
    eventId: string,
    {
      isPrivate = false,
      roomId = room,
      signal = new AbortController().signal,
      from = session,
    }: { isPrivate?: boolean; roomId?: string; signal?: AbortSignal; from?: typeof session } = {},
  ): Promise<void> => receipts.send({ session: from, userSession }, { roomId, eventId, private: isPrivate }, signal);
  return { send, requests, asked };
}

describe('a read receipt', () => {
  it('is a POST with the kind and the event in its path', async () => {
    const { send, requests, asked } = setUp();
    await send('$1');
    await send('$1', { isPrivate: true });
    const base = `https://hs.test/_matrix/client/v3/rooms/${encodeURIComponent(room)}/receipt`;
    expect(requests).toMatchObject([
      { method: 'POST', url: `${base}/m.read/%241`, body: {}, authorization: `Bearer token-of-${alice}` },
      { url: `${base}/m.read.private/%241` },
    ]);
    expect(asked[0]).toMatchObject({ priority: 'typing', repeatable: true, userId: alice, roomId: room });
  });

  it('can be followed by the fully read marker, which moves by itself', async () => {
    const { http, requests, session } = httpOnScript(Array.from({ length: 9 }, () => () => json({})));
    const receipts = new ReceiptSender(http);
    const mark = (eventId: string, fully?: boolean): Promise<void> =>
      receipts.markRead({ session, userSession }, { roomId: room, eventId, fully }, new AbortController().signal);
    await mark('$2');
    await mark('$1', true);
    await mark('$1', true);
    await mark('$3', true);
    expect(requests.map(({ url }) => url.split('/').slice(-2).join(' '))).toEqual([
      'm.read %242',
      'm.fully_read %241',
      'm.read %243',
      'm.fully_read %243',
    ]);
  });

  it('moves forward only', async () => {
    const { send, requests } = setUp();
    for (const eventId of ['$2', '$1', '$2', '$3', '$2']) await send(eventId);
    expect(requests.map(({ url }) => url.split('/').at(-1))).toEqual(['%242', '%243']);
  });

  it('of the same event is not sent again, though the order is unknown', async () => {
    const { send, requests } = setUp();
    for (const eventId of ['$unknown', '$unknown', '$2', '$unknown']) await send(eventId);
    expect(requests).toHaveLength(3);
  });

  it('moves by itself for each user and room', async () => {
    const { send, requests } = setUp();
    await send('$2');
    await send('$1', { roomId: '!other:hs.test' });
    await send('$1', { from: sessionOf('@bob:hs.test') });
    expect(requests).toHaveLength(3);
  });

  it('waits for the one before, and is not sent where that has gone further', async () => {
    const gate = Promise.withResolvers<Response>();
    const { send, requests } = setUp([() => gate.promise]);
    const both = [send('$3'), send('$2')];
    for (let n = 0; n < 10; n++) await turn();
    expect(requests).toHaveLength(1);
    gate.resolve(json({}));
    await Promise.all(both);
    expect(requests).toHaveLength(1);
  });

  it('is sent again when the homeserver did not take it', async () => {
    const { send, requests } = setUp([matrixError(404, 'M_NOT_FOUND')]);
    expect(await rejection(send('$1'))).toMatchObject({ code: 'NOT_FOUND' });
    await send('$1');
    expect(requests).toHaveLength(2);
  });

  it('ends with its signal, under way and in the queue', async () => {
    const { send, requests } = setUp([() => new Promise<Response>(() => {})]);
    const controller = new AbortController();
    const first = rejection(send('$1', { signal: controller.signal }));
    const waiting = new AbortController();
    const second = rejection(send('$2', { signal: waiting.signal }));
    for (let n = 0; n < 10; n++) await turn();
    waiting.abort();
    const error = await second;
    expect(error).toMatchObject({ code: 'ABORTED' });
    expect(error.message).toContain(`a read receipt to ${room}`);
    controller.abort();
    expect(await first).toMatchObject({ code: 'ABORTED' });
    expect(requests).toHaveLength(1);
    expect(requests[0]?.signal.aborted).toBe(true);
  });

  it('is forgotten beyond the bound', async () => {
    const { send, requests } = setUp([], 1);
    await send('$1');
    await send('$1', { roomId: '!other:hs.test' });
    await send('$1');
    expect(requests).toHaveLength(3);
  });
});
