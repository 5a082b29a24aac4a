import { describe, expect, it } from 'vitest';
import { TypingNotifier } from '../../src/ephemeral/typing-notifier.js';
import { json, matrixError } from '../support/scripted-fetch.js';
import { rejection } from '../support/rejection.js';
import { alice, httpOnScript, room, sessionOf } from '../messages/support/http-on-script.js';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const settle = async (): Promise<void> => {
  for (let n = 0; n < 20; n++) await turn();
};

function setUp(answers: Parameters<typeof httpOnScript>[0] = [], maxStanding?: number) {
  const script = [...answers, ...Array.from({ length: 10 }, () => () => json({}))];
  const { http, clock, asked, requests, session } = httpOnScript(script);
  const notifier = new TypingNotifier(http, clock, maxStanding);
  const set = (typing: boolean, timeoutMs = 20_000, signal?: AbortSignal): Promise<void> =>
    notifier.set(session, room, typing, timeoutMs, signal);
  const bodies = (): unknown[] => requests.map(({ body }) => body);
  return { notifier, clock, asked, requests, session, set, bodies };
}

describe('a typing notification', () => {
  it('is a PUT with how long it holds, before calls that cannot wait', async () => {
    const { set, requests, asked } = setUp();
    await set(true);
    await set(false);
    expect(requests).toMatchObject([
      { method: 'PUT', authorization: `Bearer token-of-${alice}`, body: { typing: true, timeout: 20_000 } },
      { method: 'PUT' },
    ]);
    expect(requests[0]?.url).toBe(
      `https://hs.test/_matrix/client/v3/rooms/${encodeURIComponent(room)}/typing/${encodeURIComponent(alice)}`,
    );
    expect(requests[1]?.body).toEqual({ typing: false });
    expect(asked[0]).toMatchObject({ priority: 'typing', repeatable: true, userId: alice, roomId: room });
  });

  it('is renewed from three quarters of its time on', async () => {
    const { set, clock, requests } = setUp();
    await set(true);
    await clock.advance(14_999);
    await set(true);
    expect(requests).toHaveLength(1);
    await clock.advance(1);
    await set(true);
    expect(requests).toHaveLength(2);
  });

  it('that ends is not sent again, however late', async () => {
    const { set, clock, bodies } = setUp();
    await set(false);
    await clock.advance(86_400_000);
    await set(false);
    expect(bodies()).toEqual([{ typing: false }]);
  });

  it('that has lapsed at its very end is not ended by a request', async () => {
    const { set, clock, bodies } = setUp();
    await set(true);
    await clock.advance(19_999);
    await set(false);
    expect(bodies()).toHaveLength(2);
    await set(true);
    await clock.advance(20_000);
    await set(false);
    expect(bodies()).toHaveLength(3);
    await set(false); // what stood is not known any more
    expect(bodies()).toHaveLength(4);
  });

  it('is kept for each user and room', async () => {
    const { notifier, set, session, requests } = setUp();
    await set(true);
    await notifier.set(session, '!other:hs.test', true, 20_000);
    await notifier.set(sessionOf('@bob:hs.test'), room, true, 20_000);
    expect(requests).toHaveLength(3);
  });

  it('is forgotten beyond the bound', async () => {
    const { notifier, set, session, requests } = setUp([], 1);
    await set(true);
    await notifier.set(session, '!other:hs.test', true, 20_000);
    await set(true);
    expect(requests).toHaveLength(3);
  });
});

describe('isTyping()', () => {
  it('is so from the call on until it ends or lapses', async () => {
    const { notifier, set, clock } = setUp();
    expect(notifier.isTyping(alice, room)).toBe(false);
    const sending = set(true);
    expect(notifier.isTyping(alice, room)).toBe(true);
    expect(notifier.isTyping('@bob:hs.test', room)).toBe(false);
    await sending;
    await clock.advance(19_999);
    expect(notifier.isTyping(alice, room)).toBe(true);
    await clock.advance(1);
    expect(notifier.isTyping(alice, room)).toBe(false);
    await set(true);
    await set(false);
    expect(notifier.isTyping(alice, room)).toBe(false);
  });

  it('is not so after a failure', async () => {
    const { notifier, set } = setUp([matrixError(403, 'M_FORBIDDEN')]);
    expect(await rejection(set(true))).toMatchObject({ code: 'FORBIDDEN' });
    expect(notifier.isTyping(alice, room)).toBe(false);
  });
});

describe('a typing notification that fails', () => {
  it('is tried again, one request each time', async () => {
    const { set, clock, bodies } = setUp([json({}, 503), json({}, 503)]);
    const sending = set(true);
    await clock.advance(20_000);
    await sending;
    expect(bodies()).toHaveLength(3);
  });

  it('is given up after four tries', async () => {
    const { set, clock, bodies } = setUp(Array.from({ length: 6 }, () => json({}, 503)));
    const sending = rejection(set(true));
    await clock.advance(120_000);
    expect(await sending).toMatchObject({ code: 'HOMESERVER_UNAVAILABLE' });
    expect(bodies()).toHaveLength(4);
  });

  it('is not tried again once there is a newer one, and counts as done', async () => {
    const { set, clock, bodies } = setUp([json({}, 503)]);
    const began = set(true);
    await settle();
    const ended = set(false);
    await clock.advance(60_000);
    await Promise.all([began, ended]);
    expect(bodies()).toEqual([{ typing: true, timeout: 20_000 }, { typing: false }]);
  });

  it('and was superseded leaves what the newer one has set', async () => {
    const gate = Promise.withResolvers<Response>();
    const { notifier, set, bodies } = setUp([() => gate.promise]);
    const ended = set(false);
    await settle();
    const began = set(true);
    gate.resolve(matrixError(403, 'M_FORBIDDEN'));
    await Promise.all([ended, began]);
    expect(notifier.isTyping(alice, room)).toBe(true);
    await set(true);
    expect(bodies()).toHaveLength(2);
  });

  it('and was superseded and aborted rejects, and leaves what the newer one has set', async () => {
    const gate = Promise.withResolvers<Response>();
    const { set, bodies } = setUp([() => gate.promise]);
    const controller = new AbortController();
    const ended = rejection(set(false, 20_000, controller.signal));
    await settle();
    controller.abort();
    const began = set(true);
    expect(await ended).toMatchObject({ code: 'ABORTED' });
    gate.resolve(json({}));
    await began;
    await set(true);
    expect(bodies()).toHaveLength(2);
  });

  it('is sent anew by the next call', async () => {
    const { set, bodies } = setUp([matrixError(403, 'M_FORBIDDEN')]);
    await rejection(set(false));
    await set(false);
    expect(bodies()).toHaveLength(2);
  });
});

describe('the signal of a typing notification', () => {
  it('ends its pause, leaving no timer', async () => {
    const { set, clock } = setUp([json({}, 503)]);
    const controller = new AbortController();
    const sending = rejection(set(true, 20_000, controller.signal));
    await settle();
    expect(clock.pendingTimers).toBe(1);
    controller.abort();
    expect(await sending).toMatchObject({ code: 'ABORTED' });
    await settle();
    expect(clock.pendingTimers).toBe(0);
  });

  it('ends the request', async () => {
    const { set, requests } = setUp([() => new Promise<Response>(() => {})]);
    const controller = new AbortController();
    const sending = rejection(set(true, 20_000, controller.signal));
    await settle();
    controller.abort();
    const error = await sending;
    expect(error).toMatchObject({ code: 'ABORTED' });
    expect(error.message).toContain(`a typing notification to ${room}`);
    expect(requests[0]?.signal.aborted).toBe(true);
  });

  it('does not end the wait of another', async () => {
    const gate = Promise.withResolvers<Response>();
    const { set, bodies } = setUp([() => gate.promise]);
    const began = set(true, 20_000, new AbortController().signal);
    await settle();
    const ended = set(false, 20_000, new AbortController().signal);
    gate.resolve(json({}));
    await Promise.all([began, ended]);
    expect(bodies()).toHaveLength(2);
  });
});
