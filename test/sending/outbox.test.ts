import { describe, expect, it } from 'vitest';
import { MatrixClientManagerError } from '../../src/core/errors.js';
import { RoomNotReceived } from '../../src/core/room-not-received.js';
import type { AnswersOtherRequests } from '../../src/http/failing-time.js';
import { Outbox } from '../../src/sending/outbox.js';
import type { FailedSend, OutboxOptions } from '../../src/sending/outbox.js';
import type { OutgoingMessage } from '../../src/sending/outgoing-message.js';
import { SendQueue } from '../../src/sending/send-queue.js';
import { memoryStorage } from '../../src/storage/memory-storage.js';
import type { Storage } from '../../src/storage/storage.js';
import { rejection } from '../support/rejection.js';
import { testContext } from '../support/context.js';
import { alice, room } from '../messages/support/http-on-script.js';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const problem = (code: ConstructorParameters<typeof MatrixClientManagerError>[0], status?: number) =>
  new MatrixClientManagerError(code, `no: ${code}`, { status, userId: alice, roomId: room });
const down = (): Error => problem('HOMESERVER_UNAVAILABLE', 500);

function setUp({
  sendOnce,
  answersOtherRequests = async () => true,
  ...options
}: Partial<OutboxOptions & { answersOtherRequests: AnswersOtherRequests }> = {}) {
  const context = testContext();
  const { clock, logger } = context;
  const storage = options.storage ?? memoryStorage();
  const posted: (OutgoingMessage & { at: number })[] = [];
  const failed: FailedSend[] = [];
  const startedAt = clock.now();
  const outbox = new Outbox(
    { ...context, answersOtherRequests },
    {
      queue: new SendQueue(context),
      sendTimeoutMs: 600_000,
      onFailed: (failure) => failed.push(failure),
      ...options,
      storage,
      sendOnce: async (outgoing) => {
        posted.push({ ...outgoing, at: clock.now() - startedAt });
        return sendOnce ? sendOnce(outgoing) : { eventId: `$${outgoing.txnId}` };
      },
    },
  );
  const message = (txnId: string, more: Partial<OutgoingMessage> = {}): OutgoingMessage => {
    return { userId: alice, roomId: room, type: 'm.room.message', content: { body: txnId }, txnId, ...more };
  };
  const send = (txnId: string, more: Partial<OutgoingMessage> = {}): Promise<{ eventId: string }> => {
    const sending = outbox.send(message(txnId, more));
    sending.catch(() => {});
    return sending;
  };
  const txnIds = (): string[] => posted.map(({ txnId }) => txnId);
  const messages = (): string => logger.entries.map(({ level, message }) => `${level}: ${message}`).join('\n');
  return { outbox, clock, logger, messages, storage, posted, txnIds, failed, message, send };
}

/** A storage whose method is replaced. */
function storageWith<Name extends 'enqueueSend' | 'completeSend' | 'failSend'>(
  name: Name,
  method: Storage[Name],
): Storage {
  return Object.assign(memoryStorage(), { [name]: method });
}

describe('a durable message', () => {
  it('is stored before it is posted, and marked as sent after', async () => {
    const storage = memoryStorage();
    const { outbox, send, clock } = setUp({
      storage,
      sendOnce: async () => {
        expect(await storage.listSends()).toEqual([
          {
            userId: alice,
            roomId: room,
            txnId: 'one',
            type: 'm.room.message',
            content: '{"body":"one"}',
            enqueuedAt: clock.now(),
            state: 'queued',
          },
        ]);
        return { eventId: '$one' };
      },
    });
    const sending = send('one');
    expect(outbox.queued).toBe(1);
    expect(await sending).toEqual({ eventId: '$one' });
    expect(outbox.queued).toBe(0);
    expect(await outbox.list(alice, 'queued')).toEqual([]);
    expect(await outbox.list(alice, 'sent')).toMatchObject([{ txnId: 'one', eventId: '$one', state: 'sent' }]);
  });

  it('that was sent already is not posted again', async () => {
    const { send, txnIds } = setUp();
    await send('one');
    expect(await send('one')).toEqual({ eventId: '$one' });
    expect(txnIds()).toEqual(['one']);
  });

  it('that has failed before is tried again by the same txnId, with what it holds now', async () => {
    let refuse = true;
    let listed: unknown;
    const { outbox, send, posted } = setUp({
      sendOnce: async () => {
        if (refuse) throw problem('FORBIDDEN', 403);
        listed = await outbox.list(alice, 'queued');
        return { eventId: '$one' };
      },
    });
    expect(await rejection(send('one', { content: { body: 'old' } }))).toMatchObject({ code: 'FORBIDDEN' });
    refuse = false;
    const sending = send('one', { content: { body: 'new' } });
    await turn();
    expect(await sending).toEqual({ eventId: '$one' });
    expect(listed).toMatchObject([{ txnId: 'one', content: { body: 'new' } }]);
    expect(posted.map(({ content }) => content.body)).toEqual(['old', 'new']);
    expect(await outbox.list(alice, 'failed')).toEqual([]);
    expect(await outbox.list(alice, 'sent')).toHaveLength(1);
  });

  it('is listed as queued with its content while it waits, of its user only', async () => {
    const gate = Promise.withResolvers<{ eventId: string }>();
    const { outbox, send } = setUp({ sendOnce: () => gate.promise });
    void send('one');
    void send('two', { userId: '@bob:hs.test' });
    await turn();
    expect(await outbox.list(alice, 'queued')).toMatchObject([{ txnId: 'one', content: { body: 'one' } }]);
    expect((await outbox.list(undefined, 'queued')).map(({ txnId }) => txnId)).toEqual(['one', 'two']);
    expect(outbox.queued).toBe(2);
    gate.resolve({ eventId: '$x' });
  });

  it('is posted with a signal of its own, in the order of the calls, whatever the storage takes', async () => {
    const gate = Promise.withResolvers<void>();
    const real = memoryStorage();
    const storage = storageWith('enqueueSend', async (userId, stored) => {
      if (stored.txnId === 'one') await gate.promise;
      return real.enqueueSend(userId, stored);
    });
    const { send, posted, txnIds } = setUp({ storage });
    const sending = [send('one'), send('two')];
    await turn();
    expect(posted).toEqual([]);
    gate.resolve();
    await Promise.all(sending);
    expect(txnIds()).toEqual(['one', 'two']);
    expect(posted[0]?.signal).toBeInstanceOf(AbortSignal);
  });

  it('that cannot be marked as sent counts as sent all the same, and the log says so', async () => {
    const storage = storageWith('completeSend', () => Promise.reject(problem('STORAGE')));
    const { send, logger } = setUp({ storage });
    expect(await send('one')).toEqual({ eventId: '$one' });
    expect(logger.entries).toMatchObject([
      { level: 'error', context: { userId: alice, roomId: room, txnId: 'one', err: { code: 'STORAGE' } } },
    ]);
  });
});

describe('a durable message that cannot be stored', () => {
  it('while another is being sent is rejected in its turn, and not unhandled before', async () => {
    const real = memoryStorage();
    const gate = Promise.withResolvers<{ eventId: string }>();
    const unhandled: unknown[] = [];
    const note = (error: unknown): void => void unhandled.push(error);
    process.on('unhandledRejection', note);
    const { send, txnIds } = setUp({
      storage: storageWith('enqueueSend', async (userId, stored) => {
        if (stored.txnId === 'two') throw problem('STORAGE');
        return real.enqueueSend(userId, stored);
      }),
      sendOnce: () => gate.promise,
    });
    const sends = [send('one'), send('two')];
    await turn();
    await turn();
    gate.resolve({ eventId: '$one' });
    expect(await Promise.allSettled(sends)).toMatchObject([
      { value: { eventId: '$one' } },
      { reason: { code: 'STORAGE' } },
    ]);
    process.off('unhandledRejection', note);
    expect([unhandled, txnIds()]).toEqual([[], ['one']]);
  });
});

describe('a durable message that is refused', () => {
  it('is listed, logged and told, with its error', async () => {
    const { outbox, send, logger, failed } = setUp({ sendOnce: () => Promise.reject(problem('FORBIDDEN', 403)) });
    const error = await rejection(send('one'));
    expect(error.code).toBe('FORBIDDEN');
    expect(await outbox.list(alice, 'failed')).toMatchObject([
      {
        txnId: 'one',
        error: { name: error.name, message: error.message, code: 'FORBIDDEN' },
        content: { body: 'one' },
      },
    ]);
    expect(failed).toEqual([{ userId: alice, roomId: room, txnId: 'one', error }]);
    expect(logger.entries).toEqual([
      {
        level: 'error',
        context: { userId: alice, roomId: room, txnId: 'one', err: error },
        message: expect.stringContaining('failed') as string,
      },
    ]);
    expect([outbox.givenUp, outbox.stalled, outbox.queued]).toEqual([0, 0, 0]);
  });

  it('with an error that is none of ours has no code in the list', async () => {
    const { outbox, send } = setUp({ sendOnce: () => Promise.reject(new TypeError('a bug')) });
    await expect(send('one')).rejects.toThrow('a bug');
    const [entry] = await outbox.list(alice, 'failed');
    expect(entry?.error).toEqual({ name: 'TypeError', message: 'a bug' });
  });

  it('is told all the same when it cannot be marked, and the log says that it is tried again', async () => {
    const storage = storageWith('failSend', () => Promise.reject(problem('STORAGE')));
    const { send, failed, logger } = setUp({ storage, sendOnce: () => Promise.reject(problem('FORBIDDEN', 403)) });
    await rejection(send('one'));
    expect(failed).toHaveLength(1);
    expect(logger.entries).toMatchObject([
      { context: { userId: alice, roomId: room, txnId: 'one', err: { code: 'STORAGE' } } },
      { context: { userId: alice, roomId: room, txnId: 'one', err: { code: 'FORBIDDEN' } } },
    ]);
  });

  it('and was discarded meanwhile is neither told nor logged', async () => {
    const { send, failed, logger } = setUp({
      storage: storageWith('failSend', async () => false),
      sendOnce: () => Promise.reject(problem('FORBIDDEN', 403)),
    });
    await rejection(send('one'));
    expect([failed, logger.entries]).toEqual([[], []]);
  });
});

describe('a durable message that something in this process keeps from being sent', () => {
  it.each<[string, unknown]>([
    ['ABORTED', problem('ABORTED')],
    ['STORAGE', problem('STORAGE')],
    ['CLIENT_FAILED', problem('CLIENT_FAILED')],
    ['what is no error', 'text'],
  ])('is tried again after pauses of up to a minute, listed and seen as stalled: %s', async (_, error) => {
    let blocked = true;
    const { outbox, send, failed, logger, clock, posted } = setUp({
      sendOnce: async ({ txnId }) => {
        if (blocked) throw error;
        return { eventId: `$${txnId}` };
      },
    });
    const sending = send('one');
    const next = send('two');
    await clock.advance(30_000);
    expect(outbox.stalled).toBe(0);
    await clock.advance(3_600_000);
    expect([outbox.stalled, outbox.queued, outbox.givenUp, failed]).toEqual([1, 2, 0, []]);
    expect((await outbox.list(alice, 'queued')).map(({ txnId }) => txnId)).toEqual(['one', 'two']);
    expect(logger.entries).toMatchObject([
      { level: 'warn', context: { userId: alice, roomId: room, txnId: 'one', err: error } },
    ]);
    const pauses = posted.slice(1).map(({ at }, n) => at - (posted[n]?.at ?? 0));
    expect(Math.max(...pauses)).toBeLessThanOrEqual(60_000);
    expect(posted.length).toBeLessThan(130);
    blocked = false;
    await clock.advance(60_000);
    expect(await Promise.all([sending, next])).toEqual([{ eventId: '$one' }, { eventId: '$two' }]);
    expect(outbox.stalled).toBe(0);
  });

  it('is refused at once where no session of its user is known, and listed', async () => {
    const { outbox, send, posted } = setUp({ sendOnce: () => Promise.reject(problem('CLIENT_NOT_STARTED')) });
    expect(await rejection(send('one'))).toMatchObject({ code: 'CLIENT_NOT_STARTED' });
    expect(posted).toHaveLength(1);
    expect(await outbox.list(alice, 'failed')).toMatchObject([{ txnId: 'one' }]);
  });

  it('waits for a room that its client has not received, but not longer than sendTimeoutMs', async () => {
    let isReceived = false;
    const sendOnce = async () => {
      if (!isReceived) throw new RoomNotReceived({ userId: alice, roomId: room }, 30_000);
      return { eventId: '$sent' };
    };
    const { outbox, send, clock, messages } = setUp({ sendTimeoutMs: 600_000, sendOnce });
    const sending = send('one');
    await clock.advance(500_000);
    expect(outbox.stalled).toBe(1);
    expect(messages()).toContain('a durable message cannot be sent yet');
    isReceived = true;
    await clock.advance(60_000);
    expect(await sending).toEqual({ eventId: '$sent' });
    isReceived = false;
    const given = rejection(send('two'));
    await clock.advance(700_000);
    expect(await given).toMatchObject({ code: 'ENCRYPTION_FAILED' });
    expect(await outbox.list(alice, 'failed')).toMatchObject([{ txnId: 'two' }]);
  });

  it('does not count that time toward sendTimeoutMs', async () => {
    let answer: Error = problem('CLIENT_FAILED');
    const { send, clock, failed } = setUp({ sendTimeoutMs: 200_000, sendOnce: () => Promise.reject(answer) });
    void send('one');
    await clock.advance(600_000);
    answer = down();
    await clock.advance(130_000); // the pause before the first of these failures counts too: a minute at most
    expect(failed).toEqual([]);
    await clock.advance(200_000);
    expect(failed).toHaveLength(1);
  });
});

describe('a durable message that the homeserver fails on', () => {
  it('is tried again after pauses of a second to a minute', async () => {
    const { send, posted, clock } = setUp({ sendOnce: () => Promise.reject(down()) });
    void send('one');
    await clock.advance(400_000);
    const pauses = posted.slice(1).map(({ at }, n) => at - (posted[n]?.at ?? 0));
    expect(pauses[0]).toBeGreaterThanOrEqual(500);
    expect(pauses[0]).toBeLessThanOrEqual(1_000);
    expect(Math.max(...pauses)).toBeLessThanOrEqual(60_000);
    expect(pauses.filter((pause) => pause >= 30_000).length).toBeGreaterThanOrEqual(4);
  });

  it('counts as stalled from a minute on, and is given up after sendTimeoutMs', async () => {
    const { outbox, send, clock, failed } = setUp({ sendTimeoutMs: 200_000, sendOnce: () => Promise.reject(down()) });
    const sending = rejection(send('one'));
    await clock.advance(30_000);
    expect([outbox.stalled, outbox.givenUp]).toEqual([0, 0]);
    await clock.advance(100_000);
    expect([outbox.stalled, outbox.givenUp]).toEqual([1, 0]);
    await clock.advance(150_000);
    const error = await sending;
    expect(error).toMatchObject({ code: 'HOMESERVER_UNAVAILABLE', status: 500, userId: alice, roomId: room });
    expect(error.cause).toMatchObject({ message: 'no: HOMESERVER_UNAVAILABLE' });
    expect([outbox.stalled, outbox.givenUp]).toEqual([0, 1]);
    expect(failed).toMatchObject([{ txnId: 'one', error }]);
    expect(await outbox.list(alice, 'failed')).toHaveLength(1);
    expect(clock.pendingTimers).toBe(0);
  });

  it('for exactly sendTimeoutMs is given up', async () => {
    const { outbox, send, clock } = setUp({
      sendTimeoutMs: 60_000,
      sendOnce: (outgoing) => tries[outgoing.txnId]?.promise ?? Promise.reject(down()),
    });
    const tries: Record<string, PromiseWithResolvers<{ eventId: string }>> = { one: Promise.withResolvers() };
    const sending = rejection(send('one'));
    await clock.advance(60_000);
    expect(outbox.stalled).toBe(0);
    tries['one']?.reject(down());
    expect(await sending).toMatchObject({ code: 'HOMESERVER_UNAVAILABLE' });
    expect(outbox.givenUp).toBe(1);
  });

  it('for exactly a minute counts as stalled', async () => {
    const tries = [Promise.withResolvers<{ eventId: string }>()];
    const { outbox, send, clock } = setUp({ sendOnce: () => tries.shift()?.promise ?? new Promise(() => {}) });
    const [first] = tries;
    void send('one');
    await clock.advance(60_000);
    expect(outbox.stalled).toBe(0);
    first?.reject(down());
    await turn();
    expect(outbox.stalled).toBe(1);
  });

  it('by rate limits that do not end is given up as well, after the waits that they ask for', async () => {
    const limited = new MatrixClientManagerError('RATE_LIMITED', 'later', { status: 429, retryAfterMs: 50_000 });
    const { outbox, send, clock, posted, failed } = setUp({ sendOnce: () => Promise.reject(limited) });
    const sending = rejection(send('one'));
    await clock.advance(300_000);
    expect(outbox.stalled).toBe(1);
    const pauses = posted.slice(1).map(({ at }, n) => at - (posted[n]?.at ?? 0));
    expect(Math.min(...pauses)).toBeGreaterThanOrEqual(50_000);
    await clock.advance(400_000);
    expect(await sending).toMatchObject({ code: 'RATE_LIMITED', status: 429 });
    expect(failed).toHaveLength(1);
  });

  it('is not given up by rate limits while other messages of its user are taken', async () => {
    const limited = new MatrixClientManagerError('RATE_LIMITED', 'later', { status: 429, retryAfterMs: 50_000 });
    const unlucky = '!unlucky:hs.test';
    const { send, clock, failed } = setUp({
      sendOnce: async ({ roomId, txnId }) => {
        if (roomId === unlucky) throw limited;
        return { eventId: `$${txnId}` };
      },
    });
    void send('waits', { roomId: unlucky });
    for (let n = 0; n < 60; n++) {
      await send(`taken-${n}`);
      await clock.advance(30_000);
    }
    expect(failed).toEqual([]);
    await clock.advance(800_000);
    expect(failed).toMatchObject([{ txnId: 'waits' }]);
  });

  it('that is given up counts until it is sent again', async () => {
    let broken = true;
    const { outbox, send, clock } = setUp({
      sendTimeoutMs: 60_000,
      sendOnce: async () => {
        if (broken) throw down();
        return { eventId: '$one' };
      },
    });
    void send('one');
    await clock.advance(200_000);
    expect(outbox.givenUp).toBe(1);
    broken = false;
    await send('one');
    expect(outbox.givenUp).toBe(0);
  });

  it('that is given up counts until it is discarded', async () => {
    const { outbox, send, clock } = setUp({ sendTimeoutMs: 60_000, sendOnce: () => Promise.reject(down()) });
    void send('one');
    await clock.advance(200_000);
    expect(outbox.givenUp).toBe(1);
    expect(await outbox.discard(alice, 'one')).toBe(true);
    expect(outbox.givenUp).toBe(0);
  });

  it('that is given up counts until its user is forgotten', async () => {
    const { outbox, send, clock } = setUp({ sendTimeoutMs: 60_000, sendOnce: () => Promise.reject(down()) });
    void send('one');
    void send('other', { userId: `${alice}.net` });
    await clock.advance(200_000);
    expect(outbox.givenUp).toBe(2);
    outbox.abortSendsOf(alice);
    expect(outbox.givenUp).toBe(1);
  });

  it('does not count as given up when it is refused in the end', async () => {
    let answer = down();
    const { outbox, send, clock } = setUp({ sendTimeoutMs: 600_000, sendOnce: () => Promise.reject(answer) });
    const sending = rejection(send('one'));
    await clock.advance(30_000);
    answer = problem('FORBIDDEN', 403);
    await clock.advance(60_000);
    expect(await sending).toBe(answer);
    expect(outbox.givenUp).toBe(0);
  });

  it('waits as long as a rate limit says, and outlasts an outage', async () => {
    const answers = [
      new MatrixClientManagerError('RATE_LIMITED', 'later', { retryAfterMs: 300_000 }),
      problem('HOMESERVER_UNAVAILABLE'),
    ];
    const { send, clock, txnIds } = setUp({
      sendOnce: async () => {
        const answer = answers.shift();
        if (answer) throw answer;
        return { eventId: '$one' };
      },
    });
    const sending = send('one');
    await clock.advance(299_999);
    expect(txnIds()).toHaveLength(1);
    await clock.advance(60_000);
    expect(await sending).toEqual({ eventId: '$one' });
    expect(txnIds()).toHaveLength(3);
  });
});

describe('the end of a durable message before it is sent', () => {
  it('by its signal takes it out of the storage', async () => {
    const { outbox, send } = setUp({ sendOnce: () => new Promise(() => {}) });
    const controller = new AbortController();
    const sending = rejection(send('one', { signal: controller.signal }));
    await turn();
    controller.abort();
    expect(await sending).toMatchObject({ code: 'ABORTED' });
    expect(await outbox.list(alice, 'queued')).toEqual([]);
  });

  it('by a signal that had fired before posts nothing', async () => {
    const { outbox, send, posted } = setUp();
    expect(await rejection(send('one', { signal: AbortSignal.abort() }))).toMatchObject({ code: 'ABORTED' });
    await turn();
    expect([posted, await outbox.list(alice, 'queued')]).toEqual([[], []]);
    expect(outbox.queued).toBe(0);
  });

  it('by a closing leaves it in the storage, also where its signal has fired as well', async () => {
    const { outbox, send, failed } = setUp({ sendOnce: () => new Promise(() => {}) });
    const controller = new AbortController();
    const sending = [send('one', { signal: controller.signal }), send('two')].map((send) => rejection(send));
    await turn();
    outbox.close();
    controller.abort();
    expect(await Promise.all(sending)).toMatchObject([{ code: 'ABORTED' }, { code: 'ABORTED' }]);
    expect((await outbox.list(alice, 'queued')).map(({ txnId }) => txnId)).toEqual(['one', 'two']);
    expect([failed, outbox.queued]).toEqual([[], 0]);
  });

  it('by a closing leaves it in the storage, though the try that is under way is refused after it', async () => {
    const gate = Promise.withResolvers<{ eventId: string }>();
    const { outbox, send, failed } = setUp({ sendOnce: () => gate.promise });
    const sending = rejection(send('one'));
    await turn();
    outbox.close();
    gate.reject(problem('FORBIDDEN', 403));
    expect(await sending).toMatchObject({ code: 'ABORTED' });
    await turn();
    expect(await outbox.list(alice, 'queued')).toHaveLength(1);
    expect(failed).toEqual([]);
  });

  it('by a failure of its own leaves it in the list, though it has a signal', async () => {
    const { outbox, send } = setUp({ sendOnce: () => Promise.reject(problem('FORBIDDEN', 403)) });
    await rejection(send('one', { signal: new AbortController().signal }));
    expect(await outbox.list(alice, 'failed')).toHaveLength(1);
  });

  it('ends it although the try that is under way never ends, and the next one goes on', async () => {
    const { outbox, send, txnIds } = setUp({
      sendOnce: ({ txnId }) => (txnId === 'one' ? new Promise(() => {}) : Promise.resolve({ eventId: '$two' })),
    });
    const first = rejection(send('one'));
    const second = send('two');
    await turn();
    expect(await outbox.discard(alice, 'one')).toBe(true);
    expect(await first).toMatchObject({ code: 'ABORTED' });
    expect(await second).toEqual({ eventId: '$two' });
    expect(txnIds()).toEqual(['one', 'two']);
  });

  it('by a discard ends every call that sends the same one, and no other message', async () => {
    const { outbox, send, posted } = setUp({ sendOnce: () => new Promise(() => {}) });
    const both = [send('one'), send('one')].map((send) => rejection(send));
    let otherEnded = false;
    send('one', { userId: '@bob:hs.test' }).catch(() => (otherEnded = true));
    await turn();
    await outbox.discard(alice, 'one');
    expect(await Promise.all(both)).toMatchObject([{ code: 'ABORTED' }, { code: 'ABORTED' }]);
    expect(posted[0]?.signal?.aborted).toBe(true);
    expect([otherEnded, outbox.queued]).toEqual([false, 1]);
    expect(await outbox.discard(alice, 'one')).toBe(false);
    expect(await outbox.discard(alice, 'never sent')).toBe(false);
  });

  it('of one call leaves a discard able to end the other of the same message', async () => {
    const { outbox, send } = setUp({ sendOnce: () => new Promise(() => {}) });
    const controller = new AbortController();
    const first = rejection(send('one', { signal: controller.signal }));
    const second = rejection(send('one'));
    await turn();
    controller.abort();
    await first;
    await outbox.discard(alice, 'one');
    expect(await second).toMatchObject({ code: 'ABORTED' });
    expect(outbox.queued).toBe(0);
  });

  it('by a discard while its pause runs ends with ABORTED, and leaves no timer', async () => {
    const { outbox, send, clock, failed } = setUp({ sendOnce: () => Promise.reject(down()) });
    const sending = rejection(send('one'));
    await clock.advance(10);
    await outbox.discard(alice, 'one');
    expect(await sending).toMatchObject({ code: 'ABORTED' });
    await turn();
    expect([clock.pendingTimers, failed, outbox.stalled]).toEqual([0, [], 0]);
  });
});

describe('the messages of an earlier process', () => {
  const left = (txnId: string, content = `{"body":"${txnId}"}`) => {
    return { txnId, roomId: room, type: 'm.room.message', content, enqueuedAt: 0 };
  };

  it('are sent in order, and the log counts them', async () => {
    const { outbox, storage, posted, logger } = setUp();
    for (const txnId of ['one', 'two']) await storage.enqueueSend(alice, left(txnId));
    const resuming = outbox.resume();
    await turn();
    await resuming;
    expect(posted).toMatchObject([
      { userId: alice, roomId: room, txnId: 'one', type: 'm.room.message', content: { body: 'one' } },
      { txnId: 'two', content: { body: 'two' } },
    ]);
    expect(await outbox.list(alice, 'sent')).toHaveLength(2);
    expect(logger.entries).toMatchObject([{ level: 'info', context: { messages: 2 } }]);
  });

  it('wait for each other in their room, and can be discarded', async () => {
    const { outbox, storage, txnIds } = setUp({
      sendOnce: ({ txnId }) => (txnId === 'one' ? new Promise(() => {}) : Promise.resolve({ eventId: `$${txnId}` })),
    });
    for (const txnId of ['one', 'two']) await storage.enqueueSend(alice, left(txnId));
    const resuming = outbox.resume();
    await turn();
    expect(txnIds()).toEqual(['one']);
    expect(outbox.queued).toBe(2);
    await outbox.discard(alice, 'one');
    await resuming;
    expect(txnIds()).toEqual(['one', 'two']);
  });

  it('of which there are none are not worth a line in the log', async () => {
    const { outbox, logger } = setUp();
    await outbox.resume();
    expect(logger.entries).toEqual([]);
  });

  it.each(['{"body":1.5}', 'no JSON', '[]'])('fail at once where no homeserver takes them: %s', async (content) => {
    const { outbox, storage, posted, failed, logger } = setUp();
    await storage.enqueueSend(alice, left('old', content));
    await outbox.resume();
    expect([posted, failed.length]).toEqual([[], 1]);
    if (content !== 'no JSON') expect(failed[0]?.error.message).toContain('`content');
    expect(await storage.listSends({ state: 'failed' })).toMatchObject([{ txnId: 'old' }]);
    expect(logger.entries.filter(({ level }) => level === 'error')).toHaveLength(1);
  });

  it('that are refused are logged once', async () => {
    const { outbox, storage, logger, failed } = setUp({ sendOnce: () => Promise.reject(problem('FORBIDDEN', 403)) });
    await storage.enqueueSend(alice, left('one'));
    await outbox.resume();
    expect(failed).toHaveLength(1);
    expect(logger.entries.filter(({ level }) => level === 'error')).toHaveLength(1);
  });

  it('that cannot be sent yet are tried again, and not only after another restart', async () => {
    let [blocked, sent] = [true, false];
    const { outbox, storage, clock } = setUp({
      sendOnce: async () => {
        if (blocked) throw problem('CLIENT_NOT_STARTED');
        return { eventId: '$one' };
      },
    });
    await storage.enqueueSend(alice, left('one'));
    void outbox.resume().then(() => (sent = true));
    await clock.advance(600_000);
    expect([sent, outbox.stalled, await outbox.list(alice, 'queued')]).toMatchObject([false, 1, [{ txnId: 'one' }]]);
    blocked = false;
    await clock.advance(60_000);
    expect([sent, await outbox.list(alice, 'sent')]).toMatchObject([true, [{ txnId: 'one' }]]);
  });

  it('are read again after a storage that failed, and what this process sends meanwhile is sent once', async () => {
    const storage = memoryStorage();
    const list = storage.listSends.bind(storage);
    let failures = 3;
    storage.listSends = (filter) => (failures-- > 0 ? Promise.reject(problem('STORAGE')) : list(filter));
    const gate = Promise.withResolvers<{ eventId: string }>();
    const { outbox, clock, send, txnIds, logger } = setUp({
      storage,
      sendOnce: ({ txnId }) => (txnId === 'new' ? gate.promise : Promise.resolve({ eventId: '$old' })),
    });
    await storage.enqueueSend(alice, left('old'));
    const resuming = outbox.resume();
    void send('new');
    await clock.advance(60_000);
    expect(logger.entries.filter(({ level }) => level === 'error')).toHaveLength(3);
    gate.resolve({ eventId: '$new' });
    await resuming;
    expect(txnIds()).toEqual(['new', 'old']);
  });

  it('stay for the next one without a line in the log when this one closes', async () => {
    const { outbox, storage, logger } = setUp({ sendOnce: () => new Promise(() => {}) });
    await storage.enqueueSend(alice, left('one'));
    const resuming = outbox.resume();
    await turn();
    outbox.close();
    await resuming;
    expect(await storage.listSends()).toHaveLength(1);
    expect(logger.entries.filter(({ level }) => level === 'error')).toEqual([]);
  });
});
