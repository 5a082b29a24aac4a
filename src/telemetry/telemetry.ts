import { metrics } from '@opentelemetry/api';
import type { Attributes, MeterProvider, TracerProvider } from '@opentelemetry/api';
import type { Diagnostics } from '../core/diagnostics.js';
import { publishOnChannels } from './channels.js';
import { EndpointLabels } from './endpoint-labels.js';
import { safeMeter } from './contained.js';
import type { SafeMeter } from './contained.js';
import { observeGauges } from './gauges.js';
import type { Gauges } from './gauges.js';
import { recordMetrics } from './metrics.js';
import type { RecordedMetrics } from './metrics.js';
import { openTelemetrySpans } from './spans.js';
import type { TelemetryStats } from './telemetry-stats.js';

export interface TelemetryOptions {
  /** Host of the homeserver; a label of all metrics. */
  readonly serverAddress: string;
  /** @default the global one at construction */
  readonly meterProvider?: MeterProvider | undefined;
  /** @default the global one */
  readonly tracerProvider?: TracerProvider | undefined;
}

/** Subscribes `stats()`, OpenTelemetry and the diagnostics channels to what one manager publishes. */
export class Telemetry {
  readonly #meter: SafeMeter;
  readonly #common: Attributes;
  readonly #recorded: RecordedMetrics;

  constructor(diagnostics: Diagnostics, options: TelemetryOptions) {
    const { serverAddress, meterProvider = metrics.getMeterProvider(), tracerProvider } = options;
    this.#common = { 'server.address': serverAddress };
    this.#meter = safeMeter(meterProvider);
    const endpoints = new EndpointLabels();
    this.#recorded = recordMetrics(diagnostics, this.#meter, this.#common, endpoints);
    diagnostics.makeSpansWith(openTelemetrySpans(serverAddress, tracerProvider));
    publishOnChannels(diagnostics, endpoints);
  }

  /** Reads counts and durations since the manager was made. */
  stats(): TelemetryStats {
    return this.#recorded.stats();
  }

  /** Calls `read` at each collection of metrics. Returns a function that ends this. */
  observeGauges(read: () => Gauges): () => void {
    const readAll = () => ({ ...read(), keysToBackUp: this.#recorded.keysToBackUp() });
    return observeGauges(this.#meter, this.#common, readAll);
  }
}
