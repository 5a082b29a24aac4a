/** `npm run bench -- --help`: this library, matrix-js-sdk as it is, and the raw protocol, on the same work. */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { buildLibrary, removeRun } from './harness/library.ts';
import { run } from './harness/run.ts';
import { save, thisMachine } from './report/results.ts';
import { summarize } from './report/summary.ts';
import { table } from './report/table.ts';
import { resultsFolder, writeReadme, writeReport } from './report/write.ts';
import { scenarios } from './scenarios/all.ts';

const help = `npm run bench -- [options]

  --only a,b      these scenarios; --list shows them
  --synapse       on a real Synapse too, which is installed and started (Python 3.10)
  --quick         a small form in a minute or two, to see that everything works; its numbers mean little
  --rounds n      how often every contender has its turn
  --out folder    where results go, as JSON, Markdown and SVG; default bench/results
  --profile path  writes CPU profiles of the contenders
  --report        measures nothing: writes Markdown, charts and bench/README.md from the newest results
  --list, --help`;

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    synapse: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    out: { type: 'string', default: resultsFolder },
    profile: { type: 'string' },
    report: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

function report(line: string): void {
  process.stderr.write(`${line}\n`);
}

async function measure(): Promise<void> {
  const rounds = values.rounds === undefined ? undefined : Number(values.rounds);
  if (rounds !== undefined && !(Number.isInteger(rounds) && rounds > 0)) {
    throw new Error(`expected --rounds to be a whole number above 0, got ${values.rounds}`);
  }
  const { quick, synapse } = values;
  const folder = resolve(values.out);
  const date = new Date().toISOString().slice(0, 10);
  const name = quick ? `${date}-quick` : date;
  try {
    await buildLibrary();
    const options = { only: values.only?.split(','), quick, synapse, rounds, profileInto: values.profile, report };
    for await (const result of run(options)) {
      const measured = { date, machine: thisMachine(), scenarios: [result] };
      // After each, so that a run that is ended early has not been for nothing.
      const results = save(folder, name, measured);
      writeReport(folder, name, results);
      for (const summary of summarize(measured)) console.log(table(summary));
    }
  } finally {
    removeRun();
  }
  if (!quick && folder === resultsFolder) writeReadme();
}

if (values.help) console.log(help);
else if (values.list) for (const { name, title } of scenarios) console.log(`${name.padEnd(16)}${title}`);
else if (values.report) writeReadme();
else await measure();
