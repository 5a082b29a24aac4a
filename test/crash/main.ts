/** `npm run crash -- --rounds 200 [--synapse] [--seed N]`: kills the library at random moments; see crash-run.ts. */
import { randomInt } from 'node:crypto';
import { appendFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { crashRun } from './crash-run.js';
import { fakeHomeserver, synapse } from './homeserver.js';
import { summaryOf } from './summary.js';

/** After so many kills, new users and rooms: the first start of a user is a moment to be killed at too. */
const ROUNDS_PER_RUN = 25;

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '200' },
    synapse: { type: 'boolean', default: false },
    seed: { type: 'string' },
    /** A file that gets every line of every worker. */
    log: { type: 'string' },
    quiet: { type: 'boolean', default: false },
  },
});

const print = (line: string): void => void process.stdout.write(`${line}\n`);
const { log: logPath } = values;
const log = logPath === undefined ? undefined : (line: string): void => appendFileSync(logPath, `${line}\n`);
const firstSeed = values.seed === undefined ? randomInt(1_000_000_000) : Number(values.seed);
const homeserver = await (values.synapse ? synapse() : fakeHomeserver());
let failed = false;
try {
  let left = Number(values.rounds);
  for (let seed = firstSeed; left > 0 && !failed; seed++) {
    const rounds = Math.min(ROUNDS_PER_RUN, left);
    const slidingSync = seed % 2 === 0;
    print(
      `--seed ${seed} --rounds ${rounds}${values.synapse ? ' --synapse' : ''}${slidingSync ? ' (sliding sync)' : ''}`,
    );
    const result = await crashRun(homeserver, {
      seed,
      rounds,
      slidingSync,
      log,
      ...(!values.quiet && { report: print }),
    });
    for (const line of summaryOf(result)) print(`  ${line}`);
    failed = result.violations.length > 0;
    left -= rounds;
  }
} finally {
  await homeserver[Symbol.asyncDispose]();
}
process.exitCode = failed ? 1 : 0;
