import { describe, expect, it, vi } from 'vitest';
import { MatrixClientManagerError } from '../../src/core/errors.js';
import type { HistoryReader } from '../../src/core/ports/history-reader.js';
import { silentLogger } from '../../src/core/logger.js';
import type { Logger } from '../../src/core/logger.js';
import { Diagnostics } from '../../src/core/diagnostics.js';
import { GapFiller } from '../../src/delivery/gap-filler.js';
import type { Gap, GapFillerContext, GapFillerOptions } from '../../src/delivery/gap-filler.js';
import { ManualClock } from '../../src/testing/manual-clock.js';
import { event, roomId, turn, userId } from './harness.js';

const down = new MatrixClientManagerError('HOMESERVER_UNAVAILABLE', 'down', { status: 500 });
const refused = new MatrixClientManagerError('FORBIDDEN', 'no', { status: 403 });

function setUp(readHistory: HistoryReader, change: Partial<GapFillerOptions & GapFillerContext> = {}) {
  const clock = new ManualClock();
  const told: Gap[] = [];
  const measured: unknown[][] = [];
  const diagnostics = new Diagnostics(clock);
  diagnostics.subscribe('gap', (gap) => measured.push(Object.values(gap)));
  const logger = { ...silentLogger, warn: vi.fn<Logger['warn']>(), error: vi.fn<Logger['error']>() };
  const context = { clock, logger, diagnostics, answersOtherRequests: () => true, ...change };
  const onGap = (gap: Gap): void => void told.push(gap);
  const gaps = new GapFiller(context, {
    userId,
    readHistory,
    gapFillLimit: 10,
    gapFillTimeoutMs: Infinity,
    onGap,
    ...change,
  });
  const stop = new AbortController();
  const fill = (limits: { before?: string; after?: string } = {}) => {
    const ends = { lastEventBefore: limits.before, firstEventAfter: limits.after };
    return gaps.fetchMissing(
      { roomId, newerToken: 'prev', olderToken: 's1', edge: () => 'none', ...ends },
      stop.signal,
    );
  };
  return { clock, told, measured, logger, gaps, stop, fill };
}

describe('a gap that the homeserver tells', () => {
  it('is measured, with how long it took, and counts for no stalled room', async () => {
    const answer = Promise.withResolvers<Awaited<ReturnType<HistoryReader>>>();
    const { clock, told, measured, gaps, fill } = setUp(() => answer.promise);
    const filled = fill();
    await clock.advance(70);
    answer.resolve({ events: [event('b'), event('a')], end: undefined });
    expect((await filled)?.map(({ event_id }) => event_id)).toEqual(['$a', '$b']);
    expect(measured).toEqual([[userId, roomId, 2, true, 70]]);
    expect([told, gaps.stalledRooms]).toEqual([[], 0]);
  });

  it('is told of where more is missing than the limit, up to the first event that was had', async () => {
    const read = async () => ({ events: [event('c'), event('b'), event('a')], end: undefined });
    const { told, measured, fill } = setUp(read, { gapFillLimit: 2 });
    await fill({ before: '$before', after: '$after' });
    expect(told).toEqual([{ userId, roomId, from: '$before', to: '$b', reason: 'limit' }]);
    expect(measured).toEqual([[userId, roomId, 2, false, 0]]);
  });
});

it('reports no gap once the client is stopped: its events are not delivered, and the next client reads them', async () => {
  const { told, measured, stop, fill } = setUp(
    async () => {
      stop.abort();
      return { events: [event('c'), event('b'), event('a')], end: undefined };
    },
    { gapFillLimit: 2 },
  );
  expect(await fill()).toBeUndefined();
  expect([told, measured]).toEqual([[], []]);
});

describe('a gap that the homeserver does not tell', () => {
  it('is tried again after growing waits, and its room is stalled until then', async () => {
    const triedAt: number[] = [];
    const { clock, told, logger, gaps, fill, measured } = setUp(async () => {
      triedAt.push(clock.now());
      if (triedAt.length < 4) throw down;
      return { events: [event('a')], end: undefined };
    });
    const filled = fill();
    await turn();
    expect([triedAt.length, gaps.stalledRooms, clock.pendingTimers]).toEqual([1, 1, 1]);
    await clock.advance(120_000);
    expect(await filled).toHaveLength(1);
    const waits = triedAt.slice(1).map((time, at) => time - (triedAt[at] ?? 0));
    for (const [at, wait] of waits.entries()) {
      expect(wait).toBeGreaterThan(0);
      expect(wait).toBeLessThanOrEqual(1_000 * 2 ** at);
    }
    expect([told, gaps.stalledRooms, measured.length]).toEqual([[], 0, 1]);
    expect(logger.warn.mock.calls.map(([fields]) => fields)).toEqual(
      [1, 2, 3].map((failures) => ({ userId, roomId, err: down, failures })),
    );
    expect(logger.warn.mock.calls[0]?.[1]).toBe('filling a gap failed, trying again');
    expect(logger.error).not.toHaveBeenCalled();
  });

  it('is given up at the time limit and not after it, and is logged and measured as not filled', async () => {
    const { clock, told, logger, gaps, fill, measured } = setUp(() => Promise.reject(down), {
      gapFillTimeoutMs: 5_000,
    });
    const filled = fill({ before: '$before', after: '$after' });
    await clock.advance(4_999);
    expect(told).toEqual([]);
    await clock.advance(1);
    expect(await filled).toEqual([]);
    expect(told).toEqual([{ userId, roomId, from: '$before', to: '$after', reason: 'error', error: down }]);
    expect(measured).toEqual([[userId, roomId, 0, false, 5_000]]);
    const { calls } = logger.error.mock;
    expect(calls).toMatchObject([
      [{ userId, roomId, err: down }, 'filling a gap took too long, going on without its events'],
    ]);
    expect(gaps.stalledRooms).toBe(1);
    gaps.forget('!other:x');
    expect(gaps.stalledRooms).toBe(1);
    gaps.forget(roomId);
    expect(gaps.stalledRooms).toBe(0);
  });

  it('counts only the time in which the homeserver answered something', async () => {
    let answeredAt: number | undefined;
    const options = {
      gapFillTimeoutMs: 5_000,
      answersOtherRequests: (since: number) => (answeredAt ?? -Infinity) >= since,
    };
    const { clock, told, fill } = setUp(() => Promise.reject(down), options);
    const filled = fill();
    await clock.advance(600_000);
    expect(told).toEqual([]); // nothing was ever answered
    answeredAt = Infinity;
    await clock.advance(120_000);
    expect(told).toHaveLength(1);
    expect(await filled).toEqual([]);
  });

  it('counts an answer that came just when the last try failed', async () => {
    const start = new ManualClock().now();
    const { clock, told, fill } = setUp(() => Promise.reject(down), {
      gapFillTimeoutMs: 1,
      answersOtherRequests: (since) => start >= since,
    });
    void fill();
    await clock.advance(1);
    expect(told).toHaveLength(1);
  });

  it('stalls no room where the homeserver refuses, not even one that was stalled before', async () => {
    const read = vi.fn<HistoryReader>().mockRejectedValueOnce(down).mockRejectedValueOnce(refused);
    const { clock, told, logger, gaps, fill, measured } = setUp(read);
    const filled = fill({ before: '$before' });
    await turn();
    expect(gaps.stalledRooms).toBe(1);
    await clock.advance(1_000);
    expect(await filled).toEqual([]);
    expect(told).toEqual([{ userId, roomId, from: '$before', to: undefined, reason: 'error', error: refused }]);
    expect(measured).toMatchObject([[userId, roomId, 0, false, expect.any(Number)]]);
    expect(gaps.stalledRooms).toBe(0);
    expect(logger.error).not.toHaveBeenCalled();
  });
});

describe('a stop', () => {
  it('ends the wait for the next try, and nobody is told of a gap', async () => {
    const { clock, told, measured, stop, fill } = setUp(() => Promise.reject(down));
    const filled = fill();
    await turn();
    stop.abort();
    expect(await filled).toBeUndefined();
    expect([told, measured, clock.pendingTimers]).toEqual([[], [], 0]);
  });

  it('during a request that fails by it leaves the gap unknown, though the failure were final', async () => {
    const { told, gaps, logger, stop, fill } = setUp(async () => {
      stop.abort();
      throw refused;
    });
    expect(await fill()).toBeUndefined();
    expect([told, gaps.stalledRooms]).toEqual([[], 0]);
    expect(logger.warn).not.toHaveBeenCalled();
  });

  it('before it began asks the homeserver nothing', async () => {
    const read = vi.fn<HistoryReader>();
    const { stop, fill } = setUp(read);
    stop.abort();
    expect(await fill()).toBeUndefined();
    expect(read).not.toHaveBeenCalled();
  });
});
