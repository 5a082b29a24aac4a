import { expect, it } from 'vitest';
import { callApplication } from '../../src/encryption/identity/identity-failures.js';
import { ManualClock } from '../../src/testing/manual-clock.js';

it.each<[string, () => unknown, string]>([
  [
    'throws',
    () => {
      throw new Error('no: key 1234');
    },
    'recoveryKey failed (no: key',
  ],
  ['rejects with what is no error', () => Promise.reject('text'), 'it threw a value that is not an Error'],
  ['hangs', () => new Promise(() => {}), 'recoveryKey took longer than 30000 ms'],
])('a recovery-key function that %s fails with a code in time, and its secrets are not told', async (_, call, said) => {
  const clock = new ManualClock();
  let end: unknown = 'still waiting';
  callApplication({ userId: '@a:x', clock }, 'recoveryKey', call, ['1234']).then(
    () => (end = 'done'),
    (error: unknown) => (end = error),
  );
  await clock.advance(30_000);
  expect(end).toMatchObject({ code: 'ENCRYPTION_SETUP_FAILED', message: expect.stringContaining(said) });
  expect(String(end)).not.toContain('1234');
  expect(clock.pendingTimers).toBe(0);
});
