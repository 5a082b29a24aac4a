import { afterEach, describe, expect, it } from 'vitest';
import { MatrixClientManagerError } from '../../src/core/errors.js';
import { OutageDetector } from '../../src/resilience/outage-detector.js';
import type { HomeserverState } from '../../src/resilience/outage-detector.js';
import { ManualClock } from '../../src/testing/index.js';

const open: OutageDetector[] = [];
afterEach(() => {
  for (const one of open.splice(0)) one.stop();
});

function setUp({ random = (): number => 0.5 } = {}) {
  const clock = new ManualClock();
  const changes: HomeserverState[] = [];
  const probes: number[] = [];
  let answer: () => Promise<unknown> = () => Promise.reject(new Error('down'));
  const detector = new OutageDetector({
    clock,
    random,
    probe: () => {
      probes.push(clock.now());
      return answer();
    },
    onChange: (state) => changes.push(state),
  });
  open.push(detector);
  const end = (failed: boolean, users: readonly string[], isSync = true, sentAt = clock.now()): void => {
    for (const userId of users) detector.record({ userId, failed, isSync, sentAt });
  };
  const fail = (...users: string[]): void => end(true, users);
  const succeed = (...users: string[]): void => end(false, users);
  /** Failures of anything but a sync. */
  const failCalls = (...users: string[]): void => end(true, users, false);
  const failLate = (sentAt: number, ...users: string[]): void => end(true, users, true, sentAt);
  const probesAnswer = (next: () => Promise<unknown>): void => void (answer = next);
  return { clock, detector, changes, probes, fail, failCalls, failLate, succeed, probesAnswer };
}

const crowd = Array.from({ length: 20 }, (_, n) => `user${n}`);

describe('the detector reports an outage', () => {
  it('when most requests of several users fail', () => {
    const { detector, fail, clock } = setUp();
    fail('a', 'b', 'c', 'a');
    expect(detector.state).toEqual({ state: 'up' });
    fail('b');
    expect(detector.state).toMatchObject({ state: 'down', retryAt: expect.any(Number) as number });
    expect(detector.state.state === 'down' && detector.state.retryAt - clock.now()).toBeGreaterThanOrEqual(1_000);
  });

  it('for the only user there is', () => {
    const { detector, fail } = setUp();
    fail('a', 'a', 'a', 'a', 'a');
    expect(detector.state.state).toBe('down');
  });

  it('when nobody gets an answer any more, however few ask and however much was answered before', async () => {
    const { detector, fail, succeed, clock } = setUp();
    succeed(...crowd, ...crowd);
    fail('a', 'b', 'c', 'd'); // connections that broke at once, as they do now and then, are no outage
    expect(detector.state.state).toBe('up');
    await clock.advance(1_000);
    fail('a');
    expect(detector.state.state).toBe('down');
  });

  it('when the requests of the only user time out one after the other', async () => {
    const { detector, fail, clock } = setUp();
    for (let timeouts = 0; timeouts < 3; timeouts++) {
      expect(detector.state.state).toBe('up');
      fail('a');
      await clock.advance(32_000);
    }
    expect(detector.state.state).toBe('down');
  });

  it('not for one user who fails among users who do not, however often', async () => {
    const { detector, fail, succeed, clock } = setUp();
    for (let round = 0; round < 100; round++) {
      succeed(...crowd.slice(0, 5));
      fail('unlucky', 'unlucky', 'unlucky', 'unlucky', 'unlucky', 'unlucky');
      await clock.advance(5_000);
    }
    expect(detector.state.state).toBe('up');
  });

  it('not for one user who fails while the others wait in long polls', async () => {
    const { detector, fail, succeed, clock } = setUp();
    succeed(...crowd);
    await clock.advance(50_000);
    for (let failures = 0; failures < 50; failures++) fail('unlucky');
    expect(detector.state.state).toBe('up');
  });

  it('for the only user who is still active', async () => {
    const { detector, fail, succeed, clock } = setUp();
    succeed('a', ...crowd);
    await clock.advance(50_000);
    succeed('a');
    await clock.advance(41_000); // nobody else for more than a long poll
    fail('a', 'a', 'a', 'a', 'a');
    expect(detector.state.state).toBe('down');
  });

  it('when exactly half of the requests fail', () => {
    const { detector, fail, succeed } = setUp();
    succeed('f', 'g', 'h', 'i', 'j');
    fail('a', 'b', 'c', 'd');
    expect(detector.state.state).toBe('up');
    fail('e');
    expect(detector.state.state).toBe('down');
  });

  it('not for failures in a row that are long ago', async () => {
    const { detector, fail, clock } = setUp();
    fail('a');
    fail('a');
    await clock.advance(91_000);
    fail('a');
    expect(detector.state.state).toBe('up');
  });

  it('not while fewer than half of the requests fail', () => {
    const { detector, fail, succeed } = setUp();
    for (let round = 0; round < 50; round++) {
      succeed('a', 'b', 'c', 'd');
      fail('e', 'f', 'g');
    }
    expect(detector.state.state).toBe('up');
  });

  it('not for failures that are spread over a long time', async () => {
    const { detector, fail, succeed, clock } = setUp();
    for (let round = 0; round < 50; round++) {
      succeed('a');
      fail('a', 'b', 'c', 'd');
      await clock.advance(10_001);
    }
    expect(detector.state.state).toBe('up');
  });
});

describe('where only calls fail, and no sync', () => {
  it('the homeserver is asked first, and kept open to everybody when it answers', async () => {
    const { clock, detector, failCalls, probesAnswer, probes, changes } = setUp();
    const answer = Promise.withResolvers<void>();
    probesAnswer(() => answer.promise);
    failCalls(...crowd, ...crowd);
    expect(probes).toHaveLength(1);
    expect(detector.state.state).toBe('up');
    answer.resolve();
    await clock.advance(0);
    failCalls('a', 'b', 'c', 'd'); // what was before the answer no longer counts
    expect(detector.state.state).toBe('up');
    expect(changes).toEqual([]);
    failCalls('e');
    expect(probes).toHaveLength(2);
  });

  it('a refusal is an answer', async () => {
    const { clock, detector, failCalls, probesAnswer } = setUp();
    probesAnswer(() => Promise.reject(new MatrixClientManagerError('FORBIDDEN', 'refused', { status: 403 })));
    failCalls('a', 'b', 'c', 'd', 'e');
    await clock.advance(0);
    expect(detector.state.state).toBe('up');
  });

  it('the outage begins once when a sync fails while the homeserver is asked', async () => {
    const { clock, detector, fail, failCalls, probesAnswer, changes } = setUp();
    const answer = Promise.withResolvers<void>();
    probesAnswer(() => answer.promise);
    failCalls('a', 'b', 'c', 'd', 'e');
    fail('f');
    expect(detector.state.state).toBe('down');
    answer.reject(new Error('down'));
    await clock.advance(0);
    expect(changes).toHaveLength(1);
    expect(clock.pendingTimers).toBe(1);
  });

  it('the outage begins when it does not answer', async () => {
    const { clock, detector, failCalls, probes } = setUp();
    failCalls('a', 'b', 'c', 'd', 'e');
    await clock.advance(0);
    expect(detector.state.state).toBe('down');
    expect(probes).toHaveLength(1);
  });

  it('one failing sync among them is enough to open it at once', () => {
    const { detector, fail, failCalls, probes } = setUp();
    failCalls('a', 'b', 'c', 'd');
    fail('e');
    expect(detector.state.state).toBe('down');
    expect(probes).toEqual([]);
  });

  it('an answer that comes after the end changes nothing', async () => {
    const { clock, detector, failCalls, changes } = setUp();
    failCalls('a', 'b', 'c', 'd', 'e');
    detector.stop();
    await clock.advance(10_000);
    expect(changes).toEqual([]);
    expect(clock.pendingTimers).toBe(0);
  });
});

describe('while it is open', () => {
  it('one probe at a time looks for the homeserver, with pauses of one to five seconds', async () => {
    const { clock, changes, probes, fail } = setUp({ random: Math.random });
    fail('a', 'b', 'c', 'd', 'e');
    await clock.advance(120_000);
    const pauses = probes.map((at, index) => at - (probes[index - 1] ?? clock.now() - 120_000));
    expect(Math.min(...pauses)).toBeGreaterThanOrEqual(1_000);
    expect(Math.max(...pauses)).toBeLessThanOrEqual(5_000);
    expect(new Set(pauses.slice(2)).size).toBeGreaterThan(5); // with jitter
    expect(changes).toHaveLength(probes.length + 1); // told again with each new retryAt
    expect(probes.length).toBeLessThanOrEqual(61);
  });

  it('no further probe goes out while one has no answer', async () => {
    const { clock, probes, fail, probesAnswer, detector } = setUp();
    const answer = Promise.withResolvers<void>();
    probesAnswer(() => answer.promise);
    fail('a', 'b', 'c', 'd', 'e');
    await clock.advance(60_000);
    expect(probes).toHaveLength(1);
    answer.resolve();
    await clock.advance(0);
    expect(detector.state).toEqual({ state: 'up' });
  });

  it('a homeserver that asks for more time gets it, up to a minute', async () => {
    const { clock, probes, fail, probesAnswer } = setUp();
    let retryAfterMs = 20_000;
    probesAnswer(() => Promise.reject(new MatrixClientManagerError('HOMESERVER_UNAVAILABLE', '503', { retryAfterMs })));
    fail('a', 'b', 'c', 'd', 'e');
    await clock.advance(2_000);
    expect(probes).toHaveLength(1);
    await clock.advance(18_000);
    expect(probes).toHaveLength(1);
    retryAfterMs = 3_600_000;
    await clock.advance(5_000);
    expect(probes).toHaveLength(2);
    await clock.advance(60_000);
    expect(probes).toHaveLength(3);
  });

  it('what ends of the time before says nothing about the time after', async () => {
    const { clock, fail, probesAnswer, detector } = setUp();
    fail('a', 'b', 'c', 'd', 'e');
    fail(...crowd, ...crowd);
    probesAnswer(() => Promise.resolve());
    await clock.advance(2_000);
    fail('a');
    expect(detector.state.state).toBe('up');
  });

  it('what fails meanwhile changes nothing, and the first probe comes in time', async () => {
    const { clock, fail, probes, changes } = setUp();
    fail('a', 'b', 'c', 'd', 'e');
    const openedAt = clock.now();
    await clock.advance(1_000);
    fail(...crowd, ...crowd);
    expect(changes).toHaveLength(1);
    await clock.advance(125);
    expect(probes).toEqual([openedAt + 1_125]);
  });

  it('what is sent at the moment when it closes counts', async () => {
    const { clock, fail, probesAnswer, detector } = setUp();
    fail('a', 'b', 'c', 'd', 'e');
    probesAnswer(() => Promise.resolve());
    await clock.advance(1_125);
    expect(detector.state.state).toBe('up');
    fail('a', 'b', 'c', 'd', 'e');
    expect(detector.state.state).toBe('down');
  });

  it('time-outs of what was sent before or during the outage do not open it again', async () => {
    const { clock, fail, failLate, probesAnswer, detector } = setUp();
    const before = clock.now();
    fail('a', 'b', 'c', 'd', 'e');
    probesAnswer(() => Promise.resolve());
    await clock.advance(2_000);
    failLate(before, ...crowd, ...crowd);
    expect(detector.state.state).toBe('up');
    failLate(clock.now(), ...crowd.slice(0, 5));
    expect(detector.state.state).toBe('down');
  });
});

describe('the detector reports the recovery', () => {
  it.each([400, 401, 403, 404])(
    'with a probe that is refused with %i, since somebody is at work there',
    async (status) => {
      const { clock, detector, fail, probesAnswer } = setUp();
      probesAnswer(() => Promise.reject(new MatrixClientManagerError('FORBIDDEN', 'refused', { status })));
      fail('a', 'b', 'c', 'd', 'e');
      await clock.advance(2_000);
      expect(detector.state.state).toBe('up');
    },
  );

  it.each([408, 429, 500, 503])('not with one that is answered %i', async (status) => {
    const { clock, detector, fail, probesAnswer } = setUp();
    probesAnswer(() => Promise.reject(new MatrixClientManagerError('RATE_LIMITED', 'not now', { status })));
    fail('a', 'b', 'c', 'd', 'e');
    await clock.advance(60_000);
    expect(detector.state.state).toBe('down');
  });

  it('with the first probe that is answered, and no timer is left', async () => {
    const { clock, changes, fail, probesAnswer } = setUp();
    fail('a', 'b', 'c', 'd', 'e');
    await clock.advance(30_000);
    probesAnswer(() => Promise.resolve());
    await clock.advance(5_000);
    expect(changes.at(-1)).toEqual({ state: 'up' });
    expect(clock.pendingTimers).toBe(0);
  });

  it('and opens again, with long pauses, for a homeserver that keeps flapping', async () => {
    const { clock, probes, fail, probesAnswer } = setUp();
    probesAnswer(() => Promise.resolve());
    for (let flaps = 0; flaps < 10; flaps++) {
      fail('a', 'b', 'c', 'd', 'e');
      await clock.advance(5_000);
    }
    expect(probes).toHaveLength(10);
    const lastPause = (probes.at(-1) ?? 0) - (clock.now() - 5_000);
    expect(lastPause).toBeGreaterThanOrEqual(4_000);
    await clock.advance(60_000);
    fail('a', 'b', 'c', 'd', 'e');
    const from = clock.now();
    await clock.advance(5_000);
    expect((probes.at(-1) ?? 0) - from).toBeLessThan(1_300); // it held for a minute: a new outage begins anew
  });

  it('never after it was closed for good, and leaves nothing', async () => {
    const { clock, detector, changes, fail, probesAnswer } = setUp();
    fail('a', 'b', 'c', 'd', 'e');
    detector.stop();
    expect(clock.pendingTimers).toBe(0);
    const second = setUp();
    const answer = Promise.withResolvers<void>();
    second.probesAnswer(() => answer.promise);
    second.fail('a', 'b', 'c', 'd', 'e');
    await second.clock.advance(2_000);
    second.detector.stop();
    answer.reject(new Error('too late'));
    await second.clock.advance(10_000);
    expect(second.probes).toHaveLength(1);
    expect(second.clock.pendingTimers).toBe(0);
    probesAnswer(() => Promise.resolve());
    await clock.advance(10_000);
    expect(changes).toHaveLength(1);
    const third = setUp();
    const late = Promise.withResolvers<void>();
    third.probesAnswer(() => late.promise);
    third.fail('a', 'b', 'c', 'd', 'e');
    await third.clock.advance(2_000);
    third.detector.stop();
    late.resolve();
    await third.clock.advance(0);
    expect(third.changes.map(({ state }) => state)).toEqual(['down']);
  });
});
