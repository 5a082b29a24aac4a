import { AggregationTemporality, InMemoryMetricExporter, MeterProvider } from '@opentelemetry/sdk-metrics';
import { DataPointType, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import type { MetricData } from '@opentelemetry/sdk-metrics';
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';
import { MatrixClientManager } from '../../src/index.js';
import type { MatrixClientManagerOptions } from '../../src/index.js';
import { FakeHomeserver, ManualClock } from '../../src/testing/index.js';

/** One point of a metric: its labels, and its number; of a duration how often it was measured, and the sum. */
export interface Point {
  readonly labels: Readonly<Record<string, unknown>>;
  readonly value: number;
  readonly sum: number;
}

/** A manager on the fake homeserver, whose metrics and spans are read by OpenTelemetry's own SDK. */
export class WatchedManager {
  readonly clock = new ManualClock();
  readonly fake = new FakeHomeserver({ clock: this.clock });
  readonly manager: MatrixClientManager;
  readonly #metrics = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  readonly #meterProvider = new MeterProvider({
    readers: [new PeriodicExportingMetricReader({ exporter: this.#metrics, exportIntervalMillis: 3_600_000 })],
  });
  readonly #spans = new InMemorySpanExporter();

  constructor(options: Partial<MatrixClientManagerOptions> = {}) {
    this.manager = new MatrixClientManager({
      homeserverUrl: this.fake.baseUrl,
      admin: this.fake.admin,
      fetch: this.fake.fetch,
      clock: this.clock,
      meterProvider: this.#meterProvider,
      tracerProvider: new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter: this.#spans })] }),
      ...options,
    });
  }

  get spans(): readonly ReadableSpan[] {
    return this.#spans.getFinishedSpans();
  }

  /** What is collected now, by the metric's name. */
  async collect(): Promise<Map<string, Point[]>> {
    await this.#meterProvider.forceFlush();
    const collected = this.#metrics.getMetrics().at(-1);
    const metrics = collected?.scopeMetrics.flatMap((scope) => scope.metrics) ?? [];
    return new Map(metrics.map((metric) => [metric.descriptor.name, pointsOf(metric)]));
  }

  /** The metric's number for these labels now: all points that have them, added up. */
  async value(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
    return sum((await this.collect()).get(name), labels);
  }

  async close(): Promise<void> {
    await this.manager.shutdown();
    await this.#meterProvider.shutdown();
    await this.fake.close();
  }
}

export function sum(points: readonly Point[] = [], labels: Readonly<Record<string, string>> = {}): number {
  return points
    .filter((point) => Object.entries(labels).every(([label, value]) => point.labels[label] === value))
    .reduce((total, { value }) => total + value, 0);
}

function pointsOf(metric: MetricData): Point[] {
  if (metric.dataPointType === DataPointType.HISTOGRAM) {
    return metric.dataPoints.map(({ attributes, value }) => {
      return { labels: attributes, value: value.count, sum: value.sum ?? 0 };
    });
  }
  if (metric.dataPointType === DataPointType.EXPONENTIAL_HISTOGRAM) throw new Error('expected no such histogram');
  return metric.dataPoints.map(({ attributes, value }) => ({ labels: attributes, value, sum: value }));
}
