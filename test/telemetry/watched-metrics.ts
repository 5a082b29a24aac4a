import {
  AggregationTemporality,
  DataPointType,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import type { MetricData } from '@opentelemetry/sdk-metrics';

/** One point of a metric: its labels, and its number; of a duration how often it was measured, and the sum. */
export interface Point {
  readonly labels: Readonly<Record<string, unknown>>;
  readonly value: number;
  readonly sum: number;
}

/** Metrics read by OpenTelemetry's own SDK. */
export class WatchedMetrics {
  readonly #exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  readonly meterProvider = new MeterProvider({
    readers: [new PeriodicExportingMetricReader({ exporter: this.#exporter, exportIntervalMillis: 3_600_000 })],
  });

  /** What is collected now, by the metric's name. */
  async collect(): Promise<Map<string, Point[]>> {
    await this.meterProvider.forceFlush();
    const collected = this.#exporter.getMetrics().at(-1);
    const metrics = collected?.scopeMetrics.flatMap((scope) => scope.metrics) ?? [];
    return new Map(metrics.map((metric) => [metric.descriptor.name, pointsOf(metric)]));
  }

  /** The metric's number for these labels now: all points that have them, added up. */
  async value(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
    return sum((await this.collect()).get(name), labels);
  }

  async close(): Promise<void> {
    await this.meterProvider.shutdown();
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
