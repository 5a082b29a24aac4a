import type { Results } from './results.ts';
import { nameOf, short, summarize, summarizeNewest, withSpread } from './summary.ts';
import type { MeasureSummary, ScenarioSummary } from './summary.ts';
import { verdict } from './table.ts';

/** A ratio to the bare SDK from which on it is told that the library costs more. */
const NOTICEABLE = 1.05;
const READING = 'Median of the rounds, in brackets the least and the most; a ratio is taken round by round.';

/** The whole result: targets, then each scenario with its chart and every number. */
export function markdown(results: Results, name: string): string {
  const summaries = summarize(results);
  const parts = summaries.map((summary) =>
    [
      `## ${summary.title}`,
      `${summary.scenario.how} (${summary.result.measuredAt}, commit ${summary.result.commit})`,
      ...chartLink(summary, name, '.'),
      numbers(summary.measures),
    ].join('\n\n'),
  );
  return `${[`# Benchmark of ${results.date}`, machine(results), targets(summaries), ...parts].join('\n\n')}\n`;
}

/**
 * The part of the README that tells the numbers: of each scenario those of the last day on which it ran.
 * @param folder - of the results, as seen from the README
 */
export function readmeSection(days: readonly Results[], folder: string): string {
  const summaries = summarizeNewest(days);
  const parts = summaries.map((summary) =>
    [
      `### ${summary.title}`,
      `${summary.scenario.how} (${summary.date})`,
      ...chartLink(summary, summary.date, folder),
      brief(summary.measures),
    ].join('\n\n'),
  );
  const used = days.filter(({ date }) => summaries.some((summary) => summary.date === date));
  const machines = used.map(({ date, machine }) => `- ${date}: ${machine}`).join('\n');
  const links = used.map(({ date }) => `[${date}](${folder}/${date}.md)`).join(', ');
  return [
    `${READING} A scenario has the date of its last run, on one of these machines:`,
    machines,
    targets(summaries),
    behind(summaries),
    ...parts,
    `All numbers, with their spread: ${links}.`,
  ].join('\n\n');
}

export function chartFile({ result, scenario }: ScenarioSummary, name: string): string {
  return `${name}-${scenario.name}${result.synapse ? '-synapse' : ''}.svg`;
}

function chartLink(summary: ScenarioSummary, name: string, folder: string): string[] {
  return summary.measures.some(({ chart }) => chart)
    ? [`![${summary.title}](${folder}/${chartFile(summary, name)})`]
    : [];
}

function machine({ date, machine }: Results): string {
  return `Measured on ${date}: ${machine}. ${READING}`;
}

function targets(summaries: readonly ScenarioSummary[]): string {
  const rows = summaries.flatMap(({ result, targets }) =>
    targets.map(({ text, measured, met }) => [
      text + (result.synapse ? ', on Synapse' : ''),
      measured,
      met === false ? `**${verdict(met)}**` : verdict(met),
    ]),
  );
  return toTable(['Target', 'Measured', ''], rows);
}

/** Where the library in its default options costs more than the bare SDK: of what is compared with that, less is better. */
function behind(summaries: readonly ScenarioSummary[]): string {
  const lines = summaries.flatMap(({ result, measures }) =>
    measures.flatMap(({ title, reference, rows }) => {
      const counterpart = { bare: 'ours', 'bare-encrypted': 'ours-encrypted' }[reference];
      const ratio = rows.find(({ contender }) => contender === counterpart)?.ratio;
      if (!ratio || !(ratio.median > NOTICEABLE)) return [];
      return [`- ${title}${result.synapse ? ', on Synapse' : ''}: ${withSpread(ratio)} x`];
    }),
  );
  const intro = 'Where the library, in its default options, costs more than the bare SDK:';
  return lines.length === 0
    ? 'Nowhere does the library cost noticeably more than the bare SDK.'
    : `${intro}\n\n${lines.join('\n')}`;
}

function numbers(measures: readonly MeasureSummary[]): string {
  const rows = measures.flatMap(({ title, unit, reference, rows }) =>
    rows.map(({ contender, value, ratio }, index) => [
      index === 0 ? `${title}, ${unit}` : '',
      nameOf(contender),
      withSpread(value),
      ratio ? `${withSpread(ratio)} x ${nameOf(reference)}` : '',
    ]),
  );
  return toTable(['', '', 'Median', 'Ratio'], rows);
}

/** One line per measure: medians, and how the others stand to the reference. */
function brief(measures: readonly MeasureSummary[]): string {
  const contenders = [...new Set(measures.flatMap(({ rows }) => rows.map(({ contender }) => contender)))];
  const lines = measures.map(({ title, unit, rows }) => [
    `${title}, ${unit}`,
    ...contenders.map((contender) => {
      const row = rows.find((row) => row.contender === contender);
      if (!row) return '';
      return short(row.value.median) + (row.ratio ? ` (${short(row.ratio.median)} x)` : '');
    }),
  ]);
  return toTable(['', ...contenders.map(nameOf)], lines);
}

function toTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

function line(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`;
}
