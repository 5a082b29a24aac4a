/**
 * `npm run test:mutation`: breaks the source in many small ways and reports what no test notices.
 *
 *     npm run test:mutation                          # every area
 *     npm run test:mutation -- src/callbacks         # one folder, or one file
 *     npm run test:mutation -- --force src/http      # every mutant anew, also those known from the last run
 *     npm run test:mutation -- --concurrency 2
 *
 * Results go to `.mutation/`: a JSON report per area, and what is known of unchanged code and tests, so that a second
 * run tries what has changed only. Exit code 1 where an area's score is below 85 %.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, globSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { mutationAreas } from './areas.ts';
import type { MutationArea } from './areas.ts';

const folder = '.mutation';
const requiredScore = 85;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { force: { type: 'boolean', default: false }, concurrency: { type: 'string', default: '1' } },
});

const scores: { area: string; mutants: number; survived: number; score: number }[] = [];
for (const [name, area] of Object.entries(mutationAreas)) {
  const files = globSync(area.mutate).toSorted();
  const chosen =
    positionals.length === 0 ? files : files.filter((file) => positionals.some((path) => isIn(file, path)));
  if (chosen.length > 0) run(name, chosen, area, chosen.length === files.length);
}
console.table(scores);
process.exitCode = scores.length > 0 && scores.every(({ score }) => score >= requiredScore) ? 0 : 1;

function run(name: string, mutate: string[], { tests, without }: MutationArea, isWholeArea: boolean): void {
  mkdirSync(folder, { recursive: true });
  const report = join(folder, `${name}${isWholeArea ? '' : '-part'}.json`);
  rmSync(report, { force: true });
  const config = join(folder, `${name}.config.json`);
  writeFileSync(
    config,
    JSON.stringify({
      plugins: ['./scripts/mutation/warm-runner.ts', './scripts/mutation/ignore-unobservable.ts'].map((path) =>
        resolve(path),
      ),
      testRunner: 'warm-vitest',
      ignorers: ['unobservable'],
      mutate,
      coverageAnalysis: 'perTest',
      ignoreStatic: true, // constants of a module: a test that repeats their value would be no test
      concurrency: Number(values.concurrency),
      incremental: true,
      incrementalFile: join(folder, `${name}.incremental.json`),
      force: values.force,
      timeoutMS: 30_000, // for what hangs without a way to say so; the worker's own time-outs are shorter
      reporters: ['progress-append-only', 'clear-text', 'json'],
      clearTextReporter: { logTests: false, reportTests: false, allowColor: false, reportScoreTable: false },
      jsonReporter: { fileName: report },
      ignorePatterns: ['bench', 'dist', 'coverage', folder],
      tempDirName: join(folder, 'sandbox'),
      disableTypeChecks: false,
      allowEmpty: true,
    }),
  );
  spawnSync(
    'nice',
    ['-n', '15', process.execPath, 'node_modules/@stryker-mutator/core/bin/stryker.js', 'run', config],
    {
      stdio: 'inherit',
      env: { ...process.env, MUTATION_TESTS: JSON.stringify(tests), MUTATION_WITHOUT: without ?? '' },
    },
  );
  if (!existsSync(report)) {
    console.error(`${name}: Stryker has written no report`);
    scores.push({ area: name, mutants: 0, survived: 0, score: 0 });
    return;
  }
  scores.push({ area: name, ...scoreOf(report) });
}

function scoreOf(report: string): { mutants: number; survived: number; score: number } {
  const { files } = JSON.parse(readFileSync(report, 'utf8')) as {
    files: Record<string, { mutants: { status: string }[] }>;
  };
  const statuses = Object.values(files).flatMap(({ mutants }) => mutants.map(({ status }) => status));
  const count = (...of: string[]): number => statuses.filter((status) => of.includes(status)).length;
  const survived = count('Survived', 'NoCoverage');
  const mutants = survived + count('Killed', 'Timeout');
  return { mutants, survived, score: Math.round((1_000 * (mutants - survived)) / Math.max(1, mutants)) / 10 };
}

function isIn(file: string, path: string): boolean {
  const base = resolve(path);
  return resolve(file) === base || (statSync(base).isDirectory() && resolve(file).startsWith(`${base}/`));
}
