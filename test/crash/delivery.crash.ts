import { randomInt } from 'node:crypto';
import { afterEach, describe, expect, it } from 'vitest';
import { crashRun } from './crash-run.js';
import type { CrashHomeserver } from './homeserver.js';
import { fakeHomeserver, synapse } from './homeserver.js';
import { summaryOf } from './summary.js';

/** `npm run crash` is the long form; a seed printed here can be rerun with it. */
describe('delivery, killed at random moments', () => {
  let homeserver: CrashHomeserver | undefined;

  afterEach(async () => {
    await homeserver?.[Symbol.asyncDispose]();
  });

  it.each([
    { name: 'the fake homeserver', start: fakeHomeserver, rounds: 24 },
    { name: 'Synapse', start: synapse, rounds: 8 },
  ])('loses nothing, keeps the order and repeats only what was unfinished, on $name', async ({ start, rounds }) => {
    const seed = randomInt(1_000_000_000);
    homeserver = await start();
    const result = await crashRun(homeserver, { seed, rounds });
    process.stdout.write(`${[`--seed ${seed} --rounds ${rounds}`, ...summaryOf(result)].join('\n')}\n`);
    expect(result.violations, `--seed ${seed} --rounds ${rounds}`).toEqual([]);
    expect(result.tally.delivered).toBeGreaterThan(100);
  });
});
