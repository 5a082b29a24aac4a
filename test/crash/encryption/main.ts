/** `npm run crash:encryption -- --rounds 200 [--synapse] [--seed N]`: kills devices with encryption; see encrypted-run.ts. */
import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { fakeHomeserver, synapse } from '../homeserver.js';
import { encryptedRun } from './encrypted-run.js';

const ROUNDS_PER_RUN = 20;

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '200' },
    synapse: { type: 'boolean', default: false },
    seed: { type: 'string' },
  },
});
const homeserver = await (values.synapse ? synapse() : fakeHomeserver());
try {
  const firstSeed = values.seed === undefined ? randomInt(1_000_000_000) : Number(values.seed);
  for (let [left, seed] = [Number(values.rounds), firstSeed]; left > 0; left -= ROUNDS_PER_RUN, seed++) {
    const rounds = Math.min(ROUNDS_PER_RUN, left);
    const { violations, ...counts } = await encryptedRun(homeserver, { seed, rounds });
    process.stdout.write(`--seed ${seed} --rounds ${rounds}: ${JSON.stringify(counts)}\n`);
    for (const violation of violations) process.stdout.write(`  ${violation}\n`);
    if (violations.length > 0) process.exitCode = 1;
  }
} finally {
  await homeserver[Symbol.asyncDispose]();
}
