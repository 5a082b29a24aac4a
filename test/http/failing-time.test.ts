import { expect, it } from 'vitest';
import { MatrixClientManagerError } from '../../src/core/errors.js';
import { FailingTime } from '../../src/http/failing-time.js';
import { ManualClock } from '../../src/testing/manual-clock.js';

const broken = new MatrixClientManagerError('HOMESERVER_UNAVAILABLE', 'no', { status: 500 });

function setUp() {
  const clock = new ManualClock();
  const asked: { since: number; error: unknown }[] = [];
  const homeserver = { answers: true };
  const startedAt = clock.now();
  const failing = new FailingTime(clock, async (since, error) => {
    asked.push({ since: since - startedAt, error });
    return homeserver.answers;
  });
  return { clock, asked, homeserver, failing };
}

it('adds up the time between failures while the homeserver answers otherwise', async () => {
  const { clock, asked, failing } = setUp();
  expect(failing.ms).toBe(0);
  await clock.advance(1_000);
  await failing.failed(broken);
  await clock.advance(2_000);
  await failing.failed(broken);
  expect(failing.ms).toBe(3_000);
  expect(asked).toEqual([
    { since: 0, error: broken },
    { since: 1_000, error: broken },
  ]);
});

it('leaves out the time of an outage', async () => {
  const { clock, homeserver, failing } = setUp();
  homeserver.answers = false;
  await clock.advance(1_000);
  await failing.failed(broken);
  expect(failing.ms).toBe(0);
  homeserver.answers = true;
  await clock.advance(10);
  await failing.failed(broken);
  expect(failing.ms).toBe(10);
});

it('adds up the time of rate limits, which may not end', async () => {
  const { clock, failing } = setUp();
  await clock.advance(1_000);
  await failing.failed(new MatrixClientManagerError('RATE_LIMITED', 'later', { status: 429, retryAfterMs: 1_000 }));
  expect(failing.ms).toBe(1_000);
});

it.each(['FORBIDDEN', 'CLIENT_NOT_STARTED', 'ABORTED'] as const)('leaves out what fails with %s', async (code) => {
  const { clock, asked, failing } = setUp();
  await clock.advance(1_000);
  await failing.failed(new MatrixClientManagerError(code, 'no'));
  expect([failing.ms, asked]).toEqual([0, []]);
});
