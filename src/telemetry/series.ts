import type { Attributes, Counter, Histogram } from '@opentelemetry/api';
import { ignoringErrors } from './contained.js';
import type { SafeMeter } from './contained.js';
import { instruments } from './instruments.js';
import type { Instrument, InstrumentKind, Instruments, Labels } from './instruments.js';

/** A counter of one label set. The `labels` object never changes, so that it can be reused for each measurement. */
export class Count {
  value = 0;
  readonly labels: Attributes;
  readonly #counter: Counter;

  constructor(counter: Counter, labels: Attributes) {
    this.#counter = counter;
    this.labels = labels;
    this.add(0); // exports 0 from the start, so that the first increment is visible as a change
  }

  add(amount = 1): void {
    this.value += amount;
    ignoringErrors(() => this.#counter.add(amount, this.labels), undefined);
  }
}

/** Summary of durations in `stats()`. */
export interface DurationStats {
  /** Number of measurements. */
  readonly count: number;
  /** Sum of the durations, in milliseconds. */
  readonly totalMs: number;
  /** Longest duration, in milliseconds. */
  readonly maxMs: number;
}

/** The durations of one label set. */
export class Durations {
  value: DurationStats = { count: 0, totalMs: 0, maxMs: 0 };
  readonly #labels: Attributes;
  readonly #histogram: Histogram;

  constructor(histogram: Histogram, labels: Attributes) {
    this.#histogram = histogram;
    this.#labels = labels;
  }

  record(durationMs: number): void {
    const { count, totalMs, maxMs } = this.value;
    this.value = { count: count + 1, totalMs: totalMs + durationMs, maxMs: Math.max(maxMs, durationMs) };
    ignoringErrors(() => this.#histogram.record(durationMs / 1_000, this.#labels), undefined);
  }
}

/** The label sets of one metric: those of its known label values, and others from their first use on. */
class Series<L extends Labels, Cell extends Count | Durations> {
  readonly #labels: readonly string[];
  readonly #make: (labels: Attributes) => Cell;
  readonly #cells = new Map<string, Cell>();

  constructor(labels: L, make: (labels: Attributes) => Cell) {
    this.#labels = Object.keys(labels);
    this.#make = make;
    for (const values of combinations(Object.values(labels))) this.at(...values);
  }

  /** The counter or histogram for these label values, in the order of the metric's labels. */
  at(...values: readonly string[]): Cell {
    const key = values.length === 1 ? String(values[0]) : values.join(' '); // most metrics have one label
    const known = this.#cells.get(key);
    if (known) return known;
    const cell = this.#make(Object.fromEntries(this.#labels.map((label, index) => [label, values[index]])));
    this.#cells.set(key, cell);
    return cell;
  }

  /** Of a metric with one label: the current value for each value of the label. */
  get values(): Record<L[keyof L][number], Cell['value']> {
    const values = [...this.#cells].map(([label, { value }]) => [label, value]);
    return Object.fromEntries(values) as Record<L[keyof L][number], Cell['value']>;
  }

  [Symbol.iterator](): Iterator<Cell> {
    return this.#cells.values();
  }
}

function combinations(lists: readonly (readonly string[])[]): string[][] {
  const [first, ...rest] = lists;
  if (!first) return [[]];
  return first.flatMap((value) => combinations(rest).map((values) => [value, ...values]));
}

/** The series of each counter and histogram. */
export type AllSeries = {
  readonly [Name in keyof Instruments]: Instruments[Name] extends Instrument<'counter', infer L>
    ? Series<L, Count>
    : Instruments[Name] extends Instrument<'duration', infer L>
      ? Series<L, Durations>
      : undefined;
};

/** Makes the series of one manager. @param common - labels of all metrics */
export function makeSeries(meter: SafeMeter, common: Attributes): AllSeries {
  const seriesOf = (instrument: Instrument<InstrumentKind>): unknown => {
    const { kind, name, description, unit, labels, buckets = [] } = instrument;
    if (kind === 'counter') {
      const counter = meter.createCounter(name, { description, unit });
      return new Series(labels, (own) => new Count(counter, { ...own, ...common }));
    }
    if (kind !== 'duration') return undefined; // read at collection: see observeGauges()
    const advice = { explicitBucketBoundaries: [...buckets] };
    const histogram = meter.createHistogram(name, { description, unit, advice });
    return new Series(labels, (own) => new Durations(histogram, { ...own, ...common }));
  };
  const entries = Object.entries(instruments).map(([name, instrument]) => [name, seriesOf(instrument)]);
  return Object.fromEntries(entries) as AllSeries;
}
