import { describe, expect, it } from 'vitest';
import { SendQueue } from '../../src/sending/send-queue.js';
import { testContext } from '../support/context.js';
import { rejection } from '../support/rejection.js';
import { alice, room } from '../messages/support/http-on-script.js';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

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
    const queue = new SendQueue(testContext());
    const [one, two, otherRoom, otherUser] = [held(), held(), held(), held()];
    const runs = Promise.allSettled([
      queue.run(alice, room, one.send),
      queue.run(alice, room, two.send),
      queue.run(alice, '!other:hs.test', otherRoom.send),
      queue.run('@bob:hs.test', room, otherUser.send),
    ]);
    expect(queue.queued).toBe(4);
    await turn();
    expect([one, two, otherRoom, otherUser].map(({ state }) => state.begun)).toEqual([true, false, true, true]);
    for (const { reject } of [one, otherRoom]) reject(new Error('refused'));
    await turn();
    expect(two.state.begun).toBe(true);
    expect(queue.queued).toBe(2);
    for (const { resolve } of [two, otherUser]) resolve('done');
    expect((await runs).map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'rejected', 'fulfilled']);
    expect(queue.queued).toBe(0);
  });

  it('is left at once by the signal, and what had not begun is not sent', async () => {
    const queue = new SendQueue(testContext());
    const [one, two] = [held(), held()];
    const first = queue.run(alice, room, one.send);
    const controller = new AbortController();
    const second = rejection(queue.run(alice, room, two.send, controller.signal));
    await turn();
    controller.abort();
    const error = await second;
    expect(error).toMatchObject({ code: 'ABORTED' });
    expect(error.message).toContain(`sending to ${room}`);
    one.resolve('done');
    expect(await first).toBe('done');
    await queue.settled();
    expect(two.state.begun).toBe(false);
  });

  it('is settled when nothing runs or waits', async () => {
    const queue = new SendQueue(testContext());
    const { send, resolve } = held();
    void queue.run(alice, room, send);
    let settled = false;
    void queue.settled().then(() => (settled = true));
    await turn();
    expect(settled).toBe(false);
    resolve('done');
    await turn();
    expect(settled).toBe(true);
  });

  it('is published as sent or failed, with user and room', async () => {
    const context = testContext();
    const ends: unknown[] = [];
    context.diagnostics.subscribe('send', ({ userId, roomId }, { outcome }) => ends.push([userId, roomId, outcome]));
    const queue = new SendQueue(context);
    expect(await queue.run(alice, room, async () => 'done')).toBe('done');
    await expect(queue.run(alice, room, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(ends).toEqual([
      [alice, room, 'ok'],
      [alice, room, 'failed'],
    ]);
  });
});
