import type { Attributes, Counter, Histogram, Meter } from '@opentelemetry/api';
import { ignoringErrors } from './contained.js';
import type { InstrumentDescription } from './instruments.js';

/** A counter of one label set. The `labels` object never changes, so that it can be reused for each measurement. */
export class Count {
  value = 0;
  readonly labels: Attributes;
  readonly #counter: Counter;

  constructor(counter: Counter, labels: Attributes) {
    this.#counter = counter;
    this.labels = labels;
    ignoringErrors(() => counter.add(0, labels), undefined); // exports 0 from the start, so that the first increment is visible as a change
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
  count = 0;
  totalMs = 0;
  maxMs = 0;
  readonly labels: Attributes;
  readonly #histogram: Histogram;

  constructor(histogram: Histogram, labels: Attributes) {
    this.#histogram = histogram;
    this.labels = labels;
  }

  record(durationMs: number): void {
    this.count++;
    this.totalMs += durationMs;
    this.maxMs = Math.max(this.maxMs, durationMs);
    ignoringErrors(() => this.#histogram.record(durationMs / 1_000, this.labels), undefined);
  }

  get stats(): DurationStats {
    return { count: this.count, totalMs: this.totalMs, maxMs: this.maxMs };
  }
}

/** The label sets of one metric. Each is made at its first use. */
export class Series<Cell> {
  readonly #labels: readonly string[];
  readonly #common: Attributes;
  readonly #make: (labels: Attributes) => Cell;
  readonly #cells = new Map<string, Cell>();

  constructor(labels: readonly string[], common: Attributes, make: (labels: Attributes) => Cell) {
    this.#labels = labels;
    this.#common = common;
    this.#make = make;
  }

  /** The counter or histogram for these label values, in the order of the metric's labels. */
  at(...values: readonly string[]): Cell {
    const key = values.join(' ');
    const known = this.#cells.get(key);
    if (known) return known;
    const own = Object.fromEntries(this.#labels.map((label, index) => [label, values[index]]));
    const cell = this.#make({ ...own, ...this.#common });
    this.#cells.set(key, cell);
    return cell;
  }

  [Symbol.iterator](): Iterator<Cell> {
    return this.#cells.values();
  }
}

export function counterSeries(meter: Meter, described: InstrumentDescription, common: Attributes): Series<Count> {
  const { name, description, unit, labels } = described;
  const counter = meter.createCounter(name, { description, unit });
  return new Series(labels, common, (attributes) => new Count(counter, attributes));
}

export function durationSeries(meter: Meter, described: InstrumentDescription, common: Attributes): Series<Durations> {
  const { name, description, unit, labels, buckets = [] } = described;
  const advice = { explicitBucketBoundaries: [...buckets] };
  const histogram = meter.createHistogram(name, { description, unit, advice });
  return new Series(labels, common, (attributes) => new Durations(histogram, attributes));
}

export function fromNames<Name extends string, T>(names: readonly Name[], value: (name: Name) => T): Record<Name, T> {
  return Object.fromEntries(names.map((name) => [name, value(name)])) as Record<Name, T>;
}

/** Makes the label sets of a metric with one label, for all its values. */
export function eachName<Name extends string, Cell>(names: readonly Name[], series: Series<Cell>): Record<Name, Cell> {
  return fromNames(names, (name) => series.at(name));
}
