import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { repository } from '../harness/library.ts';
import { chart } from './chart.ts';
import { chartFile, markdown, readmeSection } from './markdown.ts';
import { load } from './results.ts';
import type { Results } from './results.ts';
import { summarize } from './summary.ts';

export const resultsFolder = join(repository, 'bench/results');
const readme = join(repository, 'bench/README.md');
const section = /(<!-- numbers -->\n)[^]*(<!-- \/numbers -->)/;

/** The Markdown and the charts, beside the JSON. */
export function writeReport(folder: string, name: string, results: Results): void {
  writeFileSync(join(folder, `${name}.md`), markdown(results, name));
  for (const summary of summarize(results)) {
    const svg = chart(summary);
    if (svg !== undefined) writeFileSync(join(folder, chartFile(summary, name)), svg);
  }
}

/** Writes the report of the last day again, and the newest numbers of each scenario into `bench/README.md`. */
export function writeReadme(): void {
  const names = readdirSync(resultsFolder).filter((file) => /^\d{4}-\d\d-\d\d\.json$/.test(file));
  const days = names.toSorted().flatMap((name) => load(resultsFolder, name.replace('.json', '')) ?? []);
  const newest = days.at(-1);
  if (!newest) throw new Error(`expected results in ${resultsFolder}: run npm run bench first`);
  writeReport(resultsFolder, newest.date, newest);
  const text = readFileSync(readme, 'utf8');
  if (!section.test(text))
    throw new Error(`expected ${readme} to have the marks <!-- numbers --> and <!-- /numbers -->`);
  const numbers = readmeSection(days, 'results');
  writeFileSync(
    readme,
    text.replace(section, (_, begin: string, end: string) => `${begin}\n${numbers}\n\n${end}`),
  );
}
