import { describe, expect, it } from 'vitest';
import { RequestTimeout } from '../../src/http/request-timeout.js';
import { ManualClock } from '../../src/testing/manual-clock.js';

const TIMEOUT_MS = 1_000;
const chunk = Uint8Array.of(1);

function setUp() {
  const clock = new ManualClock();
  return { clock, timeout: new RequestTimeout(clock, TIMEOUT_MS) };
}

/** A body of so many chunks; `state` says how many were asked for, and whether it was let go. */
function source(chunks: number, ending?: Error) {
  const state = { asked: 0, left: false };
  const body = async function* (): AsyncGenerator<Uint8Array> {
    try {
      for (let n = 0; n < chunks; n++) {
        state.asked++;
        yield chunk;
      }
      if (ending) throw ending;
    } finally {
      state.left = true;
    }
  };
  return { state, body: body() };
}

describe('the timeout of a request', () => {
  it('fires when nothing has flowed for the time, as a time-out', async () => {
    const { clock, timeout } = setUp();
    timeout.reset();
    await clock.advance(TIMEOUT_MS - 1);
    timeout.reset();
    await clock.advance(TIMEOUT_MS - 1);
    expect(timeout.signal.aborted).toBe(false);
    await clock.advance(1);
    expect(timeout.signal.reason).toMatchObject({ name: 'TimeoutError' });
    expect(clock.pendingTimers).toBe(0);
  });

  it('fires no more once it was ended, or what was to be written is', async () => {
    for (const stop of ['pause', 'stopWriting'] as const) {
      const { clock, timeout } = setUp();
      timeout.reset();
      timeout[stop]();
      expect(clock.pendingTimers).toBe(0);
    }
  });

  it('with a limit fires whatever flows, and leaves one timer', async () => {
    const { clock, timeout } = setUp();
    timeout.reset();
    await clock.advance(TIMEOUT_MS / 2);
    timeout.startDeadline();
    await clock.advance(TIMEOUT_MS - 1);
    timeout.reset();
    expect([timeout.signal.aborted, clock.pendingTimers]).toEqual([false, 1]);
    await clock.advance(1);
    expect(timeout.signal.aborted).toBe(true);
  });
});

describe('work with a timeout', () => {
  const pending = (): Promise<never> => new Promise(() => {});

  it('settles as it does, and leaves no timer', async () => {
    const error = new Error('broken');
    for (const outcome of ['answered', error]) {
      const { clock, timeout } = setUp();
      timeout.startDeadline();
      const work = async (): Promise<unknown> => {
        if (outcome === error) throw outcome;
        return outcome;
      };
      expect(await timeout.run(undefined, work).catch((failure: unknown) => failure)).toBe(outcome);
      expect([clock.pendingTimers, timeout.isOver, timeout.signal.aborted]).toEqual([0, false, false]);
    }
  });

  it('that throws before it is a promise rejects, and leaves no timer', async () => {
    const { clock, timeout } = setUp();
    timeout.startDeadline();
    const failure = timeout.run(undefined, () => {
      throw new TypeError('a bug');
    });
    await expect(failure).rejects.toThrow('a bug');
    expect(clock.pendingTimers).toBe(0);
  });

  it('that ignores its signal ends in time', async () => {
    const { clock, timeout } = setUp();
    timeout.startDeadline();
    const failure = timeout.run(undefined, pending);
    failure.catch(() => {});
    await clock.advance(TIMEOUT_MS - 1);
    expect([timeout.isOver, timeout.signal.aborted]).toEqual([false, false]);
    await clock.advance(1);
    await expect(failure).rejects.toMatchObject({ name: 'TimeoutError' });
    expect([timeout.isOver, timeout.signal.aborted, clock.pendingTimers]).toEqual([true, true, 0]);
  });

  it('gets a signal that fires with the reason of its caller, and ends at once', async () => {
    const { clock, timeout } = setUp();
    timeout.startDeadline();
    const leaving = new AbortController();
    const seen: AbortSignal[] = [];
    const failure = timeout.run(leaving.signal, (signal) => {
      seen.push(signal);
      return pending();
    });
    const reason = new Error('stopped');
    leaving.abort(reason);
    await expect(failure).rejects.toBe(reason);
    expect(seen).toEqual([timeout.signal]);
    expect([seen[0]?.reason, timeout.isOver, clock.pendingTimers]).toEqual([reason, false, 0]);
  });

  it('is not begun for a caller that has left', async () => {
    const { clock, timeout } = setUp();
    timeout.startDeadline();
    const reason = new Error('left');
    let begun = false;
    const work = async (): Promise<void> => {
      begun = true;
    };
    await expect(timeout.run(AbortSignal.abort(reason), work)).rejects.toBe(reason);
    expect([begun, clock.pendingTimers]).toEqual([false, 0]);
  });

  it('no longer hears its caller once it has settled', async () => {
    const { timeout } = setUp();
    const leaving = new AbortController();
    await timeout.run(leaving.signal, async () => {});
    leaving.abort();
    expect(timeout.signal.aborted).toBe(false);
  });

  it('that is ended fails with the reason, which is no timeout', async () => {
    const { clock, timeout } = setUp();
    timeout.startDeadline();
    const failure = timeout.run(undefined, pending);
    const reason = new Error('outage');
    timeout.end(reason);
    await expect(failure).rejects.toBe(reason);
    expect([timeout.signal.reason, timeout.isOver, clock.pendingTimers]).toEqual([reason, false, 0]);
  });

  it('that has settled may be ended still, for what of a body is on its way', async () => {
    const { clock, timeout } = setUp();
    await timeout.run(undefined, async () => {});
    timeout.reset();
    timeout.end();
    expect([timeout.signal.aborted, clock.pendingTimers]).toEqual([true, 0]);
  });

  it('lets no more of its body be written once it has settled', async () => {
    const { clock, timeout } = setUp();
    const { body, state } = source(3);
    const writing = timeout.watchWriting(body);
    await timeout.run(undefined, () => writing.next());
    expect(clock.pendingTimers).toBe(0);
    expect(await writing.next()).toMatchObject({ done: true });
    expect([clock.pendingTimers, state]).toEqual([0, { asked: 1, left: true }]);
  });
});

describe('the timeout of what is read', () => {
  it('counts while the network is waited for, and not while the reader is busy', async () => {
    const { clock, timeout } = setUp();
    const reading = timeout.watchReading(source(2).body);
    expect(clock.pendingTimers).toBe(0); // nobody reads yet
    for (let n = 0; n < 2; n++) {
      expect(await reading.next()).toEqual({ done: false, value: chunk });
      await clock.advance(10 * TIMEOUT_MS);
    }
    expect(await reading.next()).toMatchObject({ done: true });
    expect([timeout.signal.aborted, clock.pendingTimers]).toEqual([false, 0]);
  });

  it.each([0, 1])('fires when no chunk follows (after %i)', async (chunks) => {
    const { clock, timeout } = setUp();
    const body = async function* (): AsyncGenerator<Uint8Array> {
      if (chunks > 0) yield chunk;
      await new Promise(() => {});
    };
    const reading = timeout.watchReading(body());
    for (let n = 0; n < chunks; n++) await reading.next();
    void reading.next();
    await clock.advance(TIMEOUT_MS);
    expect(timeout.signal.aborted).toBe(true);
  });

  it('ends with the body, however that ends', async () => {
    const { clock, timeout } = setUp();
    const broken = timeout.watchReading(source(0, new Error('broken')).body);
    await expect(broken.next()).rejects.toThrow('broken');
    expect(clock.pendingTimers).toBe(0);
    const { body, state } = source(5);
    for await (const _ of timeout.watchReading(body)) break;
    expect([clock.pendingTimers, state]).toEqual([0, { asked: 1, left: true }]);
  });
});

describe('the timeout of what is written', () => {
  it('counts while the network takes a chunk and until the answer, and not while the file is read', async () => {
    const { clock, timeout } = setUp();
    const disk = Promise.withResolvers<void>();
    const body = async function* (): AsyncGenerator<Uint8Array> {
      await disk.promise;
      yield chunk;
      yield chunk;
    };
    timeout.reset(); // the connection is made
    const writing = timeout.watchWriting(body());
    const first = writing.next();
    await clock.advance(10 * TIMEOUT_MS);
    expect([timeout.signal.aborted, clock.pendingTimers]).toEqual([false, 0]);
    disk.resolve();
    expect(await first).toEqual({ done: false, value: chunk });
    expect(clock.pendingTimers).toBe(1);
    await clock.advance(TIMEOUT_MS - 1);
    expect(await writing.next()).toEqual({ done: false, value: chunk });
    await clock.advance(TIMEOUT_MS - 1);
    expect(await writing.next()).toMatchObject({ done: true });
    await clock.advance(TIMEOUT_MS - 1);
    expect(timeout.signal.aborted).toBe(false);
    await clock.advance(1);
    expect(timeout.signal.aborted).toBe(true);
  });

  it('leaves no timer while the file is read again, after a chunk', async () => {
    const { clock, timeout } = setUp();
    const body = async function* (): AsyncGenerator<Uint8Array> {
      yield chunk;
      await new Promise(() => {});
    };
    const writing = timeout.watchWriting(body());
    await writing.next();
    void writing.next();
    await clock.advance(10 * TIMEOUT_MS);
    expect([timeout.signal.aborted, clock.pendingTimers]).toEqual([false, 0]);
  });

  it('starts no timer once there is an answer, and lets go of the file', async () => {
    const { clock, timeout } = setUp();
    const { body, state } = source(3);
    const writing = timeout.watchWriting(body);
    await writing.next();
    timeout.stopWriting();
    expect(await writing.next()).toMatchObject({ done: true });
    expect([clock.pendingTimers, state]).toEqual([0, { asked: 1, left: true }]);
  });

  it('starts no timer when the answer comes while the file is read, or at its end', async () => {
    const reads = [true, false];
    for (const more of reads) {
      const { clock, timeout } = setUp();
      const disk = Promise.withResolvers<void>();
      const body = async function* (): AsyncGenerator<Uint8Array> {
        await disk.promise;
        if (more) yield chunk;
      };
      const ending = timeout.watchWriting(body()).next();
      timeout.stopWriting();
      disk.resolve();
      expect(await ending).toMatchObject({ done: true });
      expect(clock.pendingTimers).toBe(0);
    }
  });

  it('does not prolong the limit of a refusal that comes meanwhile', async () => {
    const { clock, timeout } = setUp();
    const writing = timeout.watchWriting(source(3).body);
    await writing.next();
    timeout.startDeadline();
    await clock.advance(TIMEOUT_MS - 1);
    await writing.next();
    expect(clock.pendingTimers).toBe(1);
    await clock.advance(1);
    expect(timeout.signal.aborted).toBe(true);
  });
});
