import { expect, it } from 'vitest';
import { Diagnostics } from '../../src/core/diagnostics.js';
import type { SpanSource } from '../../src/core/diagnostics.js';
import { ManualClock } from '../../src/testing/manual-clock.js';

const work = { userId: '@alice:hs', roomId: '!r:hs' };

function setUp() {
  const clock = new ManualClock();
  const diagnostics = new Diagnostics(clock);
  const sends: unknown[] = [];
  diagnostics.subscribe('send', (...end) => sends.push(end));
  return { clock, diagnostics, sends };
}

it('publishes how traced work has ended, and how long it took', async () => {
  const { clock, diagnostics, sends } = setUp();
  const sent = Promise.withResolvers<string>();
  const traced = diagnostics.trace('send', work, () => sent.promise);
  await clock.advance(70);
  expect(sends).toEqual([]);
  sent.resolve('$event');
  expect(await traced).toBe('$event');
  expect(sends).toEqual([[work, { outcome: 'ok', result: '$event' }, 70]]);
});

it.each([new Error('no'), undefined])(
  'publishes that traced work was rejected with %s, and rejects with it',
  async (error) => {
    const { diagnostics, sends } = setUp();
    await expect(
      diagnostics.trace('send', work, async () => {
        throw error;
      }),
    ).rejects.toBe(error);
    expect(sends).toEqual([[work, { outcome: 'failed', error }, 0]]);
  },
);

it('keeps errors of subscribers from the work and from other subscribers', async () => {
  const { diagnostics } = setUp();
  const ends: string[] = [];
  diagnostics.subscribe('checkpoint', () => {
    throw new Error('no');
  });
  diagnostics.subscribe('checkpoint', (_checkpoint, { outcome }) => ends.push(outcome));
  await diagnostics.trace('checkpoint', work, async () => {});
  expect(ends).toEqual(['ok']);
});

it('runs traced work in its span, and starts the span when the work begins', async () => {
  const { diagnostics } = setUp();
  const seen: string[] = [];
  const spans: SpanSource = {
    begin: (name) => {
      seen.push(`begin ${name}`);
      return {
        run: (run) => {
          seen.push('run');
          return run();
        },
        end: ({ outcome }) => seen.push(outcome),
      };
    },
    detached: (run) => run(),
  };
  diagnostics.makeSpansWith(spans);
  const trace = diagnostics.begin('send', work);
  seen.push('later');
  await trace.run(() => seen.push('work'));
  expect(seen).toEqual(['begin send', 'later', 'run', 'work', 'ok']);
});

it('tells only the subscribers of the same manager', async () => {
  const [one, other] = [setUp(), setUp()];
  await one.diagnostics.trace('send', work, async () => {});
  expect([one.sends.length, other.sends.length]).toEqual([1, 0]);
});
