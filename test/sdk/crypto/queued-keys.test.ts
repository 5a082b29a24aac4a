import { describe, expect, it } from 'vitest';
import { QueuedKeys } from '../../../src/sdk/crypto/queued-keys.js';
import { ManualClock } from '../../../src/testing/manual-clock.js';

describe('the wait for a key', () => {
  const queue = () => {
    const clock = new ManualClock();
    const keys = new QueuedKeys(clock);
    const until = clock.now() + 30_000;
    return { clock, keys, until };
  };

  it('ends in time where the homeserver holds no messages', async () => {
    const { clock, keys, until } = queue();
    keys.synced(49);
    await clock.advance(30_000);
    expect(keys.deadline(until)).toBe(until);
  });

  it('goes on while the homeserver holds messages, and until events were decrypted again', async () => {
    const { clock, keys, until } = queue();
    keys.synced(100);
    expect(keys.deadline(until)).toBe(until);
    await clock.advance(60_000);
    expect(keys.deadline(until)).toBeGreaterThan(clock.now());
    keys.synced(3);
    const last = clock.now() + 5_000;
    await clock.advance(5_000);
    keys.synced(0);
    expect(keys.deadline(until)).toBe(last);
  });

  it('ends five minutes later at the latest', async () => {
    const { clock, keys, until } = queue();
    for (let minute = 0; minute < 10; minute++) {
      await clock.advance(60_000);
      keys.synced(100);
    }
    expect(keys.deadline(until)).toBe(until + 300_000);
  });
});
