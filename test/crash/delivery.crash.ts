import { randomInt } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { crashRun, TOO_FEW } from './crash-run.js';
import type { CrashHomeserver } from './homeserver.js';
import { fakeHomeserver, synapse } from './homeserver.js';
import { summaryOf } from './summary.js';

/** `npm run crash` is the long form; a seed printed here can be rerun with it: even ones with sliding sync. */
describe.each([
  { name: 'the fake homeserver', start: fakeHomeserver, rounds: [6, 4, 4, 4] },
  { name: 'Synapse', start: synapse, rounds: [4, 3] },
])('delivery, killed at random moments, on $name', ({ start, rounds: all }) => {
  let homeserver: CrashHomeserver;
  beforeAll(async () => {
    homeserver = await start();
  });
  afterAll(() => homeserver[Symbol.asyncDispose]());

  it.each(all.map((rounds, run) => ({ rounds, slidingSync: run % 2 === 0, run: run + 1 })))(
    'loses nothing, keeps the order and repeats only what was unfinished; sliding sync: $slidingSync, run $run',
    async ({ rounds, slidingSync }) => {
      const seed = 2 * randomInt(500_000_000) + (slidingSync ? 0 : 1);
      const result = await crashRun(homeserver, { seed, rounds, slidingSync });
      process.stdout.write(`${[`--seed ${seed} --rounds ${rounds}`, ...summaryOf(result)].join('\n')}\n`);
      expect(result.violations, `--seed ${seed} --rounds ${rounds}`).toEqual([]);
      expect(result.tally.delivered).toBeGreaterThan(TOO_FEW);
      expect(result.once.handled).toBeGreaterThan(0);
    },
  );
});
