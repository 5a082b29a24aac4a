/** `npm run crash:encryption -- --rounds 200 [--synapse] [--seed N]`: kills devices with encryption; see encrypted-run.ts. */
import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { fakeHomeserver, synapse } from '../homeserver.js';
import { encryptedRun } from './encrypted-run.js';
import type { EncryptedResult } from './encrypted-run.js';
import { countPhases } from './phases.js';
import { summaryOf } from './summary.js';

/** After so many, new users: first keys and identities are moments to be killed at too. */
const ROUNDS_PER_RUN = 10;

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '200' },
    synapse: { type: 'boolean', default: false },
    /** Even ones give users an identity. */
    seed: { type: 'string' },
  },
});

const print = (line: string): void => void process.stdout.write(`${line}\n`);
const homeserver = await (values.synapse ? synapse() : fakeHomeserver());
const results: EncryptedResult[] = [];
let stuck = 0;
try {
  const firstSeed = values.seed === undefined ? randomInt(1_000_000_000) : Number(values.seed);
  for (let [left, seed] = [Number(values.rounds), firstSeed]; left > 0; left -= ROUNDS_PER_RUN, seed++) {
    const rounds = Math.min(ROUNDS_PER_RUN, left);
    const identities = seed % 2 === 0;
    print(`--seed ${seed} --rounds ${rounds}${values.synapse ? ' --synapse' : ''}${identities ? ' (identities)' : ''}`);
    try {
      const result = await encryptedRun(homeserver, { seed, rounds, identities });
      results.push(result);
      for (const line of summaryOf(result)) print(`  ${line}`);
    } catch (error) {
      stuck++;
      print(`  WRONG: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
} finally {
  await homeserver[Symbol.asyncDispose]();
}
const sum = (count: (result: EncryptedResult) => number): number =>
  results.reduce((total, result) => total + count(result), 0);
const violations = sum((result) => result.violations.length);
print(
  `${results.length} runs, ${stuck} stuck: ${violations} violations, ${sum(({ kills }) => kills)} kills, ` +
    `${sum(({ messages }) => messages)} messages in ${sum(({ sessions }) => sessions)} sessions, ` +
    `${sum(({ restored }) => restored)} read by new devices from the backup, ` +
    `${sum(({ keysAfterDeadline }) => keysAfterDeadline)} delivered before their key came`,
);
print(`killed in: ${JSON.stringify(countPhases(results.flatMap(({ killedIn }) => killedIn)))}`);
process.exitCode = violations + stuck > 0 ? 1 : 0;
