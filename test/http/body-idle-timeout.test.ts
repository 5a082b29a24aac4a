import { describe, expect, it } from 'vitest';
import { BodyIdleTimeout } from '../../src/http/body-idle-timeout.js';
import { ManualClock } from '../../src/testing/manual-clock.js';

const TIMEOUT_MS = 1_000;
const chunk = Uint8Array.of(1);

function setUp() {
  const clock = new ManualClock();
  return { clock, silence: new BodyIdleTimeout(clock, TIMEOUT_MS) };
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

describe('silence', () => {
  it('fires when nothing has flowed for the time, as a time-out', async () => {
    const { clock, silence } = setUp();
    silence.reset();
    await clock.advance(TIMEOUT_MS - 1);
    silence.reset();
    await clock.advance(TIMEOUT_MS - 1);
    expect(silence.signal.aborted).toBe(false);
    await clock.advance(1);
    expect(silence.signal.reason).toMatchObject({ name: 'TimeoutError' });
    expect(clock.pendingTimers).toBe(0);
  });

  it('fires no more once it was ended, or what was to be written is', async () => {
    for (const stop of ['pause', 'stopWriting'] as const) {
      const { clock, silence } = setUp();
      silence.reset();
      silence[stop]();
      expect(clock.pendingTimers).toBe(0);
    }
  });

  it('with a limit fires whatever flows, and leaves one timer', async () => {
    const { clock, silence } = setUp();
    silence.reset();
    await clock.advance(TIMEOUT_MS / 2);
    silence.startDeadline();
    await clock.advance(TIMEOUT_MS - 1);
    silence.reset();
    expect([silence.signal.aborted, clock.pendingTimers]).toEqual([false, 1]);
    await clock.advance(1);
    expect(silence.signal.aborted).toBe(true);
  });
});

describe('silence of what is read', () => {
  it('counts while the network is waited for, and not while the reader is busy', async () => {
    const { clock, silence } = setUp();
    const reading = silence.watchReading(source(2).body);
    expect(clock.pendingTimers).toBe(0); // nobody reads yet
    for (let n = 0; n < 2; n++) {
      expect(await reading.next()).toEqual({ done: false, value: chunk });
      await clock.advance(10 * TIMEOUT_MS);
    }
    expect(await reading.next()).toMatchObject({ done: true });
    expect([silence.signal.aborted, clock.pendingTimers]).toEqual([false, 0]);
  });

  it.each([0, 1])('fires when no chunk follows (after %i)', async (chunks) => {
    const { clock, silence } = setUp();
    const body = async function* (): AsyncGenerator<Uint8Array> {
      if (chunks > 0) yield chunk;
      await new Promise(() => {});
    };
    const reading = silence.watchReading(body());
    for (let n = 0; n < chunks; n++) await reading.next();
    void reading.next();
    await clock.advance(TIMEOUT_MS);
    expect(silence.signal.aborted).toBe(true);
  });

  it('ends with the body, however that ends', async () => {
    const { clock, silence } = setUp();
    const broken = silence.watchReading(source(0, new Error('broken')).body);
    await expect(broken.next()).rejects.toThrow('broken');
    expect(clock.pendingTimers).toBe(0);
    const { body, state } = source(5);
    for await (const _ of silence.watchReading(body)) break;
    expect([clock.pendingTimers, state]).toEqual([0, { asked: 1, left: true }]);
  });
});

describe('silence of what is written', () => {
  it('counts while the network takes a chunk and until the answer, and not while the file is read', async () => {
    const { clock, silence } = setUp();
    const disk = Promise.withResolvers<void>();
    const body = async function* (): AsyncGenerator<Uint8Array> {
      await disk.promise;
      yield chunk;
      yield chunk;
    };
    silence.reset(); // the connection is made
    const writing = silence.watchWriting(body());
    const first = writing.next();
    await clock.advance(10 * TIMEOUT_MS);
    expect([silence.signal.aborted, clock.pendingTimers]).toEqual([false, 0]);
    disk.resolve();
    expect(await first).toEqual({ done: false, value: chunk });
    expect(clock.pendingTimers).toBe(1);
    await clock.advance(TIMEOUT_MS - 1);
    expect(await writing.next()).toEqual({ done: false, value: chunk });
    await clock.advance(TIMEOUT_MS - 1);
    expect(await writing.next()).toMatchObject({ done: true });
    await clock.advance(TIMEOUT_MS - 1);
    expect(silence.signal.aborted).toBe(false);
    await clock.advance(1);
    expect(silence.signal.aborted).toBe(true);
  });

  it('leaves no timer while the file is read again, after a chunk', async () => {
    const { clock, silence } = setUp();
    const body = async function* (): AsyncGenerator<Uint8Array> {
      yield chunk;
      await new Promise(() => {});
    };
    const writing = silence.watchWriting(body());
    await writing.next();
    void writing.next();
    await clock.advance(10 * TIMEOUT_MS);
    expect([silence.signal.aborted, clock.pendingTimers]).toEqual([false, 0]);
  });

  it('starts no timer once there is an answer, and lets go of the file', async () => {
    const { clock, silence } = setUp();
    const { body, state } = source(3);
    const writing = silence.watchWriting(body);
    await writing.next();
    silence.stopWriting();
    expect(await writing.next()).toMatchObject({ done: true });
    expect([clock.pendingTimers, state]).toEqual([0, { asked: 1, left: true }]);
  });

  it('starts no timer when the answer comes while the file is read, or at its end', async () => {
    const reads = [true, false];
    for (const more of reads) {
      const { clock, silence } = setUp();
      const disk = Promise.withResolvers<void>();
      const body = async function* (): AsyncGenerator<Uint8Array> {
        await disk.promise;
        if (more) yield chunk;
      };
      const ending = silence.watchWriting(body()).next();
      silence.stopWriting();
      disk.resolve();
      expect(await ending).toMatchObject({ done: true });
      expect(clock.pendingTimers).toBe(0);
    }
  });

  it('does not prolong the limit of a refusal that comes meanwhile', async () => {
    const { clock, silence } = setUp();
    const writing = silence.watchWriting(source(3).body);
    await writing.next();
    silence.startDeadline();
    await clock.advance(TIMEOUT_MS - 1);
    await writing.next();
    expect(clock.pendingTimers).toBe(1);
    await clock.advance(1);
    expect(silence.signal.aborted).toBe(true);
  });
});
