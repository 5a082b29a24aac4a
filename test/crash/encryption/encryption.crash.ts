import { randomInt } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { fakeHomeserver, synapse } from '../homeserver.js';
import { encryptedRun } from './encrypted-run.js';

/** `npm run crash:encryption` is the long form. */
describe.each([
  { name: 'the fake homeserver', start: fakeHomeserver },
  { name: 'Synapse', start: synapse },
])('devices with encryption, killed at random moments, on $name', ({ start }) => {
  it('read everything, keep their keys, and use no message key twice', async () => {
    await using homeserver = await start();
    const seed = randomInt(1_000_000_000);
    const { violations, ...counts } = await encryptedRun(homeserver, { seed, rounds: 4 });
    process.stdout.write(`--seed ${seed} --rounds 4: ${JSON.stringify(counts)}\n`);
    expect(violations).toEqual([]);
  });
});
