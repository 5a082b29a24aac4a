import type { Attributes, Counter, Histogram, Meter } from '@opentelemetry/api';
import { ignoringErrors } from './contained.js';
import type { Instrument, Labels } from './instruments.js';

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
class Durations {
  readonly labels: Attributes;
  readonly #histogram: Histogram;
  #count = 0;
  #totalMs = 0;
  #maxMs = 0;

  constructor(histogram: Histogram, labels: Attributes) {
    this.#histogram = histogram;
    this.labels = labels;
  }

  record(durationMs: number): void {
    this.#count++;
    this.#totalMs += durationMs;
    this.#maxMs = Math.max(this.#maxMs, durationMs);
    ignoringErrors(() => this.#histogram.record(durationMs / 1_000, this.labels), undefined);
  }

  get value(): DurationStats {
    return { count: this.#count, totalMs: this.#totalMs, maxMs: this.#maxMs };
  }
}

/** The label sets of one metric: those of its known label values, and others from their first use on. */
class Series<L extends Labels, Cell extends { readonly value: unknown }> {
  readonly #labels: readonly string[];
  readonly #common: Attributes;
  readonly #make: (labels: Attributes) => Cell;
  readonly #cells = new Map<string, Cell>();

  constructor(labels: L, common: Attributes, make: (labels: Attributes) => Cell) {
    this.#labels = Object.keys(labels);
    this.#common = common;
    this.#make = make;
    for (const values of combinations(Object.values(labels))) this.at(...values);
  }

  /** The counter or histogram for these label values, in the order of the metric's labels. */
  at(...values: readonly string[]): Cell {
    const key = values.length === 1 ? String(values[0]) : values.join(' '); // most metrics have one label
    const known = this.#cells.get(key);
    if (known) return known;
    const own = Object.fromEntries(this.#labels.map((label, index) => [label, values[index]]));
    const cell = this.#make({ ...own, ...this.#common });
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

/** Makes the series of one manager's metrics. */
export class SeriesMaker {
  readonly #meter: Meter;
  readonly #common: Attributes;

  /** @param common - labels of all metrics */
  constructor(meter: Meter, common: Attributes) {
    this.#meter = meter;
    this.#common = common;
  }

  counter<L extends Labels>({ name, description, unit, labels }: Instrument<'counter', L>): Series<L, Count> {
    const counter = this.#meter.createCounter(name, { description, unit });
    return new Series(labels, this.#common, (attributes) => new Count(counter, attributes));
  }

  duration<L extends Labels>({
    name,
    description,
    unit,
    labels,
    buckets = [],
  }: Instrument<'duration', L>): Series<L, Durations> {
    const advice = { explicitBucketBoundaries: [...buckets] };
    const histogram = this.#meter.createHistogram(name, { description, unit, advice });
    return new Series(labels, this.#common, (attributes) => new Durations(histogram, attributes));
  }
}
