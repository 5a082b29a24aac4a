import { describe, expect, it } from 'vitest';
import { fetchEncryption, sendEvent } from '../../src/sending/send-event.js';
import { json, matrixError } from '../support/scripted-fetch.js';
import { rejection } from '../support/rejection.js';
import { alice, httpOnScript, room } from '../messages/support/http-on-script.js';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const message = { userId: alice, roomId: room, type: 'm.room.message', content: { body: 'hi' }, txnId: 'txn/1' };

describe('sendEvent()', () => {
  it('is a PUT whose path holds the type and the txnId', async () => {
    const { http, session, requests, asked } = httpOnScript([json({ event_id: '$1' })]);
    expect(await sendEvent(http, session, message)).toEqual({ eventId: '$1' });
    expect(requests).toMatchObject([
      {
        method: 'PUT',
        url: `https://hs.test/_matrix/client/v3/rooms/${encodeURIComponent(room)}/send/m.room.message/txn%2F1`,
        body: { body: 'hi' },
        authorization: `Bearer token-of-${alice}`,
      },
    ]);
    expect(asked[0]).toMatchObject({ priority: 'send', userId: alice, roomId: room });
  });

  it('is repeated when the answer was lost', async () => {
    const { http, session, clock, requests } = httpOnScript([json({}, 502), json({ event_id: '$1' })]);
    const sending = sendEvent(http, session, message);
    await clock.advance(10_000);
    expect(await sending).toEqual({ eventId: '$1' });
    expect(requests).toHaveLength(2);
  });

  it.each([{}, { event_id: 7 }])('is an error when the answer is %j', async (answer) => {
    const answers = Array.from({ length: 4 }, () => json(answer));
    const { http, session, clock } = httpOnScript(answers);
    const sending = rejection(sendEvent(http, session, message));
    await clock.advance(60_000);
    const error = await sending;
    expect(error).toMatchObject({ code: 'INVALID_RESPONSE', userId: alice, roomId: room });
    expect(error.message).toContain(`sending to ${room}`);
  });

  it('ends with its signal', async () => {
    const { http, session, requests } = httpOnScript([() => new Promise<Response>(() => {})]);
    const controller = new AbortController();
    const sending = rejection(sendEvent(http, session, { ...message, signal: controller.signal }));
    for (let n = 0; n < 10; n++) await turn();
    controller.abort();
    expect(await sending).toMatchObject({ code: 'ABORTED' });
    expect(requests[0]?.signal.aborted).toBe(true);
  });
});

describe('fetchEncryption()', () => {
  it.each([
    [json({ algorithm: 'm.megolm.v1.aes-sha2' }), { algorithm: 'm.megolm.v1.aes-sha2' }],
    [json({}), {}],
    [json([]), {}],
    [matrixError(404, 'M_NOT_FOUND'), undefined],
  ])('asks the homeserver for the state of the room (%#)', async (answer, expected) => {
    const { http, session, requests } = httpOnScript([answer]);
    expect(await fetchEncryption(http, session, room)).toEqual(expected);
    expect(requests).toMatchObject([{ method: 'GET', authorization: `Bearer token-of-${alice}` }]);
    expect(requests[0]?.url).toMatch(/\/_matrix\/client\/v3\/rooms\/[^/]+\/state\/m\.room\.encryption\/$/);
  });

  it('rejects where it cannot be told, since a message in the clear cannot be taken back', async () => {
    const { http, session } = httpOnScript([matrixError(403, 'M_FORBIDDEN')]);
    const error = await rejection(fetchEncryption(http, session, room));
    expect(error).toMatchObject({ code: 'FORBIDDEN', userId: alice, roomId: room });
    expect(error.message).toContain(`sending to ${room}`);
  });

  it('is repeated after a failure, and ends with its signal', async () => {
    const { http, session, clock } = httpOnScript([json({}, 502), json({}), () => new Promise<Response>(() => {})]);
    const asking = fetchEncryption(http, session, room);
    await clock.advance(10_000);
    expect(await asking).toEqual({});
    const controller = new AbortController();
    const ended = rejection(fetchEncryption(http, session, room, controller.signal));
    await turn();
    controller.abort();
    expect(await ended).toMatchObject({ code: 'ABORTED' });
  });
});
