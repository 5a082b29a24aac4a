import { describe, expect, it } from 'vitest';
import { TypingNotifier } from '../../src/ephemeral/typing-notifier.js';
import { hang, json, matrixError } from '../support/scripted-fetch.js';
import { rejection } from '../support/rejection.js';
import { alice, httpOnScript, room, sessionOf } from '../messages/support/http-on-script.js';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const { signal: never } = new AbortController();
const settle = async (): Promise<void> => {
  for (let n = 0; n < 20; n++) await turn();
};

function setUp(answers: Parameters<typeof httpOnScript>[0] = [], maxStanding?: number) {
  const script = [...answers, ...Array.from({ length: 10 }, () => () => json({}))];
  const context = httpOnScript(script);
  const { clock, logger, asked, requests, session } = context;
  const shutdown = new AbortController();
  const notifier = new TypingNotifier(context, shutdown.signal, maxStanding);
  const set = (typing: boolean, timeoutMs = 20_000, signal = never): Promise<void> =>
    notifier.set(session, { roomId: room, typing, timeoutMs }, signal);
  const bodies = (): unknown[] => requests.map(({ body }) => body);
  return { notifier, clock, logger, asked, requests, session, shutdown, set, bodies };
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
    expect(asked[0]).toMatchObject({ priority: 'typing', userId: alice, roomId: room });
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
    await notifier.set(session, { roomId: '!other:hs.test', typing: true }, never);
    await notifier.set(sessionOf('@bob:hs.test'), { roomId: room, typing: true }, never);
    expect(requests).toHaveLength(3);
  });

  it('is forgotten beyond the bound', async () => {
    const { notifier, set, session, requests } = setUp([], 1);
    await set(true);
    await notifier.set(session, { roomId: '!other:hs.test', typing: true }, never);
    await set(true);
    expect(requests).toHaveLength(3);
  });
});

describe('the end of a typing notification with the message', () => {
  it('is sent once, from the call that began it on until it ends or expires', async () => {
    const { notifier, set, session, clock, bodies } = setUp();
    const end = async (from = session): Promise<number> => {
      await notifier.end(from, room);
      return bodies().length;
    };
    expect(await end()).toBe(0);
    const sending = set(true);
    const ended = end();
    await end(sessionOf('@bob:hs.test'));
    await Promise.all([sending, ended]);
    expect(bodies()).toEqual([{ typing: false }]); // the first one was superseded before it was sent
    expect(await end()).toBe(1);
    await set(true);
    await clock.advance(19_999);
    expect(await end()).toBe(3);
    await set(true);
    await clock.advance(20_000);
    expect(await end()).toBe(4);
  });

  it('is not sent after a failure', async () => {
    const { notifier, set, session, requests } = setUp([matrixError(403, 'M_FORBIDDEN')]);
    expect(await rejection(set(true))).toMatchObject({ code: 'FORBIDDEN' });
    await notifier.end(session, room);
    expect(requests).toHaveLength(1);
  });

  it('is logged where it fails, because the message is sent', async () => {
    const { notifier, set, session, logger } = setUp([json({}), matrixError(403, 'M_FORBIDDEN')]);
    await set(true);
    await notifier.end(session, room);
    expect(logger.entries).toMatchObject([
      { level: 'debug', context: { userId: alice, roomId: room, err: { code: 'FORBIDDEN' } } },
    ]);
  });

  it('ends with the shutdown', async () => {
    const { notifier, set, session, shutdown, logger } = setUp([json({}), hang]);
    await set(true);
    const ended = notifier.end(session, room);
    await settle();
    shutdown.abort();
    await ended;
    expect(logger.entries).toMatchObject([{ context: { err: { code: 'ABORTED' } } }]);
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
    const { set, bodies } = setUp([() => gate.promise]);
    const ended = set(false);
    await settle();
    const began = set(true);
    gate.resolve(matrixError(403, 'M_FORBIDDEN'));
    await Promise.all([ended, began]);
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
