import type { Limit, Measure, Scenario, Target } from '../harness/scenario.ts';
import { spread } from '../harness/statistics.ts';
import type { Spread } from '../harness/statistics.ts';
import { scenarios } from '../scenarios/all.ts';
import type { Results, ScenarioResult, Values } from './results.ts';

export interface Row {
  readonly contender: string;
  readonly value: Spread;
  /** To the measure's reference, round by round. */
  readonly ratio: Spread | undefined;
}

export interface MeasureSummary extends Measure {
  readonly rows: readonly Row[];
}

export interface TargetSummary {
  readonly text: string;
  readonly measured: string;
  /** Undefined where it was not measured. */
  readonly met: boolean | undefined;
}

export interface ScenarioSummary {
  /** The day of the measurement. */
  readonly date: string;
  readonly result: ScenarioResult;
  readonly scenario: Scenario;
  /** The scenario's title, and where it ran. */
  readonly title: string;
  readonly measures: readonly MeasureSummary[];
  readonly targets: readonly TargetSummary[];
}

const names: Readonly<Record<string, string>> = {
  ours: 'ours',
  'ours-undici': 'ours, /undici',
  'ours-sqlite': 'ours, sqliteStorage',
  'ours-plain': 'ours, slidingSync: false',
  'ours-with-sdk': 'ours and the SDK',
  'ours-rest': 'ours, over REST',
  'ours-encrypted': 'ours, encrypted',
  'ours-untouched': 'ours, no such calls',
  bare: 'bare SDK',
  'bare-encrypted': 'bare SDK, encrypted in memory',
  'bare-sliding': 'bare SDK, sliding',
  raw: 'raw requests',
  everybody: 'loop over everybody',
  nothing: 'nothing',
};

export function nameOf(contender: string): string {
  return names[contender] ?? contender;
}

/** In the order of the scenarios; what is not known any more is left out. */
export function summarize({ scenarios: results, date }: Results): ScenarioSummary[] {
  return scenarios.flatMap((scenario) =>
    results.filter((result) => result.scenario === scenario.name).map((result) => summarizeOne(scenario, result, date)),
  );
}

function summarizeOne(scenario: Scenario, result: ScenarioResult, date: string): ScenarioSummary {
  const { values } = result;
  const measures = scenario.measures(result).map((measure) => {
    const byContender = values[measure.id] ?? {};
    const rows = Object.entries(byContender).map(([contender, own]) => ({
      contender,
      value: spread(own),
      ratio: contender === measure.reference ? undefined : ratios(own, byContender[measure.reference]),
    }));
    return { ...measure, rows };
  });
  const targets = (scenario.targets?.(result) ?? []).map((target) => check(target, values));
  const title = result.synapse ? `${scenario.title}, on Synapse` : scenario.title;
  return { date, result, scenario, title, measures, targets };
}

/** The newest result of each scenario and homeserver, of several days, in the order of the scenarios. */
export function summarizeNewest(days: readonly Results[]): ScenarioSummary[] {
  const newest = new Map<string, ScenarioSummary>();
  for (const day of days.toSorted((a, b) => a.date.localeCompare(b.date))) {
    for (const summary of summarize(day)) newest.set(summary.title, summary);
  }
  const place = ({ scenario }: ScenarioSummary): number => scenarios.indexOf(scenario);
  return [...newest.values()].toSorted((a, b) => place(a) - place(b));
}

function ratios(own: readonly number[], reference: readonly number[] | undefined): Spread | undefined {
  return reference && spread(byRound(own, reference, (a, b) => a / b));
}

function byRound(
  own: readonly number[],
  others: readonly number[],
  of: (own: number, other: number) => number,
): number[] {
  return own.slice(0, others.length).map((value, round) => of(value, others[round] ?? Number.NaN));
}

function check({ text, measure, of, limits }: Target, values: Values): TargetSummary {
  const own = values[measure]?.[of];
  const checked = own ? limits.map((limit) => checkLimit(limit, measure, own, values)) : [];
  const known = checked.filter((result) => result !== undefined);
  if (known.length === 0) return { text, measured: 'not measured', met: undefined };
  const best = known.find(({ met }) => met) ?? known[0];
  return { text, measured: best?.measured ?? '', met: best?.met };
}

function checkLimit(
  limit: Limit,
  measure: string,
  own: readonly number[],
  values: Values,
): { measured: string; met: boolean } | undefined {
  if (limit.kind === 'value') {
    const value = spread(own);
    return { measured: withSpread(value), met: value.median <= limit.atMost };
  }
  const overMeasure = limit.kind === 'ratio' ? limit.overMeasure : undefined;
  const over = values[overMeasure ?? measure]?.[limit.over];
  if (!over) return undefined;
  if (limit.kind === 'difference') {
    const added = spread(byRound(own, over, (a, b) => a - b));
    return { measured: `+${withSpread(added)}`, met: added.median <= limit.atMost };
  }
  const ratio = spread(byRound(own, over, (a, b) => a / b));
  const met = ratio.median <= (limit.atMost ?? Infinity) && ratio.median >= (limit.atLeast ?? 0);
  return { measured: `${withSpread(ratio)} x`, met };
}

export function withSpread({ median, min, max }: Spread): string {
  return min === max ? short(median) : `${short(median)} (${short(min)} to ${short(max)})`;
}

/** With about three digits. */
export function short(value: number): string {
  if (!Number.isFinite(value)) return 'never';
  const size = Math.abs(value);
  if (size >= 100) return Math.round(value).toLocaleString('en');
  const digits = size >= 10 ? 1 : size >= 0.1 || size === 0 ? 2 : 4;
  return value.toFixed(digits);
}
