import { getEventListeners } from 'node:events';
import { describe, expect, it, vi } from 'vitest';
import { delay, onAbort, orAborted, orTimeout, throwIfAborted } from '../../src/core/abort.js';
import { MatrixClientManagerError } from '../../src/core/errors.js';
import { ManualClock } from '../../src/testing/manual-clock.js';
import { rejection } from '../support/rejection.js';

function setUp() {
  const controller = new AbortController();
  const { signal } = controller;
  const listeners = (): number => getEventListeners(signal, 'abort').length;
  return { controller, signal, clock: new ManualClock(), listeners };
}

describe('delay', () => {
  it('resolves when its time has come and not before, leaving no listener', async () => {
    const { signal, clock, listeners } = setUp();
    let done = false;
    const waiting = delay(clock, 1_000, signal, 'waiting').then(() => (done = true));
    await clock.advance(999);
    expect({ done, listeners: listeners() }).toEqual({ done: false, listeners: 1 });
    await clock.advance(1);
    await waiting;
    expect({ timers: clock.pendingTimers, listeners: listeners() }).toEqual({ timers: 0, listeners: 0 });
  });

  it('rejects at once when aborted, with the reason as cause, leaving no timer and no listener', async () => {
    const { controller, signal, clock, listeners } = setUp();
    const waiting = delay(clock, 1_000, signal, 'waiting for Godot');
    const reason = new Error('enough');
    controller.abort(reason);
    const error = await rejection(waiting);
    expect(error).toMatchObject({ code: 'ABORTED', cause: reason });
    expect(error.message).toContain('waiting for Godot');
    expect({ timers: clock.pendingTimers, listeners: listeners() }).toEqual({ timers: 0, listeners: 0 });
  });

  it('sets no timer when aborted before', async () => {
    const { clock } = setUp();
    expect(await rejection(delay(clock, 1_000, AbortSignal.abort(), 'waiting'))).toMatchObject({ code: 'ABORTED' });
    expect(clock.pendingTimers).toBe(0);
  });

  it('needs no signal', async () => {
    const { clock } = setUp();
    const waiting = delay(clock, 5, undefined, 'waiting');
    await clock.advance(5);
    await expect(waiting).resolves.toBeUndefined();
  });
});

describe('orAborted', () => {
  it('passes on what the promise does, leaving no listener', async () => {
    const { signal, listeners } = setUp();
    await expect(orAborted(Promise.resolve(7), signal, 'x')).resolves.toBe(7);
    const failure = new Error('no');
    await expect(orAborted(Promise.reject(failure), signal, 'x')).rejects.toBe(failure);
    await Promise.resolve();
    expect(listeners()).toBe(0);
  });

  it('rejects as soon as the signal fires, and leaves no unhandled rejection when the promise fails later', async () => {
    const { controller, signal } = setUp();
    const work = Promise.withResolvers<void>();
    const waiting = orAborted(work.promise, signal, 'working');
    controller.abort();
    expect(await rejection(waiting)).toMatchObject({ code: 'ABORTED' });
    work.reject(new Error('late'));
    await new Promise((resolve) => setImmediate(resolve)); // vitest fails a run with an unhandled rejection
  });

  it('rejects at once when the signal has fired, also for a promise that fails', async () => {
    const failing = Promise.reject(new Error('no'));
    expect(await rejection(orAborted(failing, AbortSignal.abort(), 'x'))).toMatchObject({ code: 'ABORTED' });
    await new Promise((resolve) => setImmediate(resolve));
  });

  it('is the promise itself without a signal', () => {
    const promise = Promise.resolve();
    expect(orAborted(promise, undefined, 'x')).toBe(promise);
  });
});

describe('throwIfAborted', () => {
  it('throws for a fired signal only', async () => {
    expect(() => throwIfAborted(undefined, 'x')).not.toThrow();
    expect(() => throwIfAborted(new AbortController().signal, 'x')).not.toThrow();
    const error = await rejection(() => throwIfAborted(AbortSignal.abort('why'), 'x'));
    expect(error).toMatchObject({ code: 'ABORTED', cause: 'why' });
  });
});

describe('a signal that many wait on', () => {
  it('has one listener for all of them, and none when they have gone', async () => {
    const { signal } = new AbortController();
    const fired = vi.fn<() => void>();
    const first = onAbort(signal, fired);
    const second = onAbort(signal, fired.bind(undefined));
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    first();
    first();
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    second();
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
    expect(fired).not.toHaveBeenCalled();
  });

  it('tells each of them, also those that came after others had gone', () => {
    const controller = new AbortController();
    const told: string[] = [];
    onAbort(controller.signal, () => told.push('gone'))();
    onAbort(controller.signal, () => told.push('first'));
    const leave = onAbort(controller.signal, () => told.push('left'));
    onAbort(controller.signal, () => told.push('last'));
    leave();
    controller.abort();
    expect(told).toEqual(['first', 'last']);
  });
});

describe('orTimeout', () => {
  const late = new MatrixClientManagerError('TIMEOUT', 'too late');

  it('passes on what comes in time, leaving no timer', async () => {
    const { clock } = setUp();
    await expect(orTimeout(Promise.resolve(7), clock, 1_000, () => late)).resolves.toBe(7);
    await expect(orTimeout(Promise.reject(new Error('no')), clock, 1_000, () => late)).rejects.toThrow('no');
    expect(clock.pendingTimers).toBe(0);
  });

  it('rejects when the time is over, and not before', async () => {
    const { clock } = setUp();
    let outcome: unknown = 'waiting';
    const waiting = orTimeout(new Promise(() => {}), clock, 1_000, () => late).catch((error: unknown) => {
      outcome = error;
    });
    await clock.advance(999);
    expect(outcome).toBe('waiting');
    await clock.advance(1);
    await waiting;
    expect(outcome).toBe(late);
  });
});
