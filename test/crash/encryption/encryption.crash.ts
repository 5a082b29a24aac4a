import { randomInt } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fakeHomeserver, synapse } from '../homeserver.js';
import type { CrashHomeserver } from '../homeserver.js';
import { encryptedRun } from './encrypted-run.js';
import { summaryOf } from './summary.js';

const ROUNDS = 3;

/** `npm run crash:encryption` is the long form; a seed printed here can be rerun with it. */
describe.each([
  { name: 'the fake homeserver', start: fakeHomeserver },
  { name: 'Synapse', start: synapse },
])('devices with encryption, killed at random moments, on $name', ({ start }) => {
  let homeserver: CrashHomeserver;
  beforeAll(async () => {
    homeserver = await start();
  });
  afterAll(() => homeserver[Symbol.asyncDispose]());

  it.each([{ identities: false }, { identities: true }])(
    'read everything, keep their keys, use no message key twice and leave nothing readable; identities: $identities',
    async ({ identities }) => {
      const seed = 2 * randomInt(500_000_000) + (identities ? 0 : 1);
      const result = await encryptedRun(homeserver, { seed, rounds: ROUNDS, identities });
      process.stdout.write(`${[`--seed ${seed} --rounds ${ROUNDS}`, ...summaryOf(result)].join('\n')}\n`);
      expect(result.violations, `--seed ${seed} --rounds ${ROUNDS}`).toEqual([]);
    },
  );
});
