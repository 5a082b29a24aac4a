import { describe, expect, it } from 'vitest';
import { noTelemetry } from '../../src/core/telemetry.js';
import { MessageSender } from '../../src/sending/message-sender.js';
import { json, matrixError } from '../support/scripted-fetch.js';
import { rejection } from '../support/rejection.js';
import { alice, httpOnScript, room } from '../messages/support/http-on-script.js';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const message = { userId: alice, roomId: room, type: 'm.room.message', content: { body: 'hi' }, txnId: 'txn/1' };

function setUp(...answers: Parameters<typeof httpOnScript>[0]) {
  const { http, clock, asked, requests, session } = httpOnScript(answers);
  return { sender: new MessageSender(http), clock, asked, requests, session };
}

describe('send()', () => {
  it('is a PUT whose path holds the type and the txnId', async () => {
    const { sender, session, requests, asked } = setUp(json({ event_id: '$1' }));
    expect(await sender.send(session, message)).toEqual({ eventId: '$1' });
    expect(requests).toMatchObject([
      {
        method: 'PUT',
        url: `https://hs.test/_matrix/client/v3/rooms/${encodeURIComponent(room)}/send/m.room.message/txn%2F1`,
        body: { body: 'hi' },
        authorization: `Bearer token-of-${alice}`,
      },
    ]);
    expect(asked[0]).toMatchObject({ priority: 'send', repeatable: true, userId: alice, roomId: room });
  });

  it('is repeated when the answer was lost', async () => {
    const { sender, session, clock, requests } = setUp(json({}, 502), json({ event_id: '$1' }));
    const sending = sender.send(session, message);
    await clock.advance(10_000);
    expect(await sending).toEqual({ eventId: '$1' });
    expect(requests).toHaveLength(2);
  });

  it.each([{}, { event_id: 7 }])('is an error when the answer is %j', async (answer) => {
    const answers = Array.from({ length: 4 }, () => json(answer));
    const { sender, session, clock } = setUp(...answers);
    const sending = rejection(sender.send(session, message));
    await clock.advance(60_000);
    const error = await sending;
    expect(error).toMatchObject({ code: 'INVALID_RESPONSE', userId: alice, roomId: room });
    expect(error.message).toContain(`sending to ${room}`);
  });

  it('ends with its signal', async () => {
    const { sender, session, requests } = setUp(() => new Promise<Response>(() => {}));
    const controller = new AbortController();
    const sending = rejection(sender.send(session, { ...message, signal: controller.signal }));
    for (let n = 0; n < 10; n++) await turn();
    controller.abort();
    expect(await sending).toMatchObject({ code: 'ABORTED' });
    expect(requests[0]?.signal.aborted).toBe(true);
  });
});

describe('isEncrypted()', () => {
  it.each([
    [json({ algorithm: 'm.megolm.v1.aes-sha2' }), true],
    [json({}), true],
    [matrixError(404, 'M_NOT_FOUND'), false],
  ])('asks the homeserver for the state of the room (%#)', async (answer, expected) => {
    const { sender, session, requests } = setUp(answer);
    expect(await sender.isEncrypted(session, room)).toBe(expected);
    expect(requests).toMatchObject([{ method: 'GET', authorization: `Bearer token-of-${alice}` }]);
    expect(requests[0]?.url).toMatch(/\/_matrix\/client\/v3\/rooms\/[^/]+\/state\/m\.room\.encryption\/$/);
  });

  it('rejects where it cannot be told, since a message in the clear cannot be taken back', async () => {
    const { sender, session } = setUp(matrixError(403, 'M_FORBIDDEN'));
    const error = await rejection(sender.isEncrypted(session, room));
    expect(error).toMatchObject({ code: 'FORBIDDEN', userId: alice, roomId: room });
    expect(error.message).toContain(`sending to ${room}`);
  });

  it('is repeated after a failure, and ends with its signal', async () => {
    const { sender, session, clock } = setUp(json({}, 502), json({}), () => new Promise<Response>(() => {}));
    const asking = sender.isEncrypted(session, room);
    await clock.advance(10_000);
    expect(await asking).toBe(true);
    const controller = new AbortController();
    const ended = rejection(sender.isEncrypted(session, room, controller.signal));
    await turn();
    controller.abort();
    expect(await ended).toMatchObject({ code: 'ABORTED' });
  });
});

describe('the queue of sends', () => {
  /** A send that lasts until it is let go. */
  const held = () => {
    const gate = Promise.withResolvers<string>();
    const state = { begun: false };
    const send = (): Promise<string> => {
      state.begun = true;
      return gate.promise;
    };
    return { ...gate, state, send };
  };

  it('runs one at a time per user and room, and counts those that run or wait', async () => {
    const { sender } = setUp();
    const [one, two, otherRoom, otherUser] = [held(), held(), held(), held()];
    const runs = Promise.allSettled([
      sender.inOrder(alice, room, one.send),
      sender.inOrder(alice, room, two.send),
      sender.inOrder(alice, '!other:hs.test', otherRoom.send),
      sender.inOrder('@bob:hs.test', room, otherUser.send),
    ]);
    expect(sender.queued).toBe(4);
    await turn();
    expect([one, two, otherRoom, otherUser].map(({ state }) => state.begun)).toEqual([true, false, true, true]);
    for (const { reject } of [one, otherRoom]) reject(new Error('refused'));
    await turn();
    expect(two.state.begun).toBe(true);
    expect(sender.queued).toBe(2);
    for (const { resolve } of [two, otherUser]) resolve('done');
    expect((await runs).map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'rejected', 'fulfilled']);
    expect(sender.queued).toBe(0);
  });

  it('is left at once by the signal, and what had not begun is not sent', async () => {
    const { sender } = setUp();
    const [one, two] = [held(), held()];
    const first = sender.inOrder(alice, room, one.send);
    const controller = new AbortController();
    const second = rejection(sender.inOrder(alice, room, two.send, controller.signal));
    await turn();
    controller.abort();
    const error = await second;
    expect(error).toMatchObject({ code: 'ABORTED' });
    expect(error.message).toContain(`sending to ${room}`);
    one.resolve('done');
    expect(await first).toBe('done');
    await sender.settled();
    expect(two.state.begun).toBe(false);
  });

  it('is settled when nothing runs or waits', async () => {
    const { sender } = setUp();
    const { send, resolve } = held();
    void sender.inOrder(alice, room, send);
    let settled = false;
    void sender.settled().then(() => (settled = true));
    await turn();
    expect(settled).toBe(false);
    resolve('done');
    await turn();
    expect(settled).toBe(true);
  });

  it('is told of by telemetry, by user and room', async () => {
    const told: unknown[] = [];
    const { http } = httpOnScript([]);
    const sender = new MessageSender(http, {
      ...noTelemetry,
      send: (userId, roomId, run) => {
        told.push([userId, roomId]);
        return run();
      },
    });
    expect(await sender.inOrder(alice, room, async () => 'done')).toBe('done');
    expect(told).toEqual([[alice, room]]);
  });
});
