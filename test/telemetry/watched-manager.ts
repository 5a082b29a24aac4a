import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';
import { MatrixClientManager } from '../../src/index.js';
import type { MatrixClientManagerOptions } from '../../src/index.js';
import { FakeHomeserver, ManualClock } from '../../src/testing/index.js';
import { WatchedMetrics } from './watched-metrics.js';

/** A manager on the fake homeserver, whose metrics and spans are read by OpenTelemetry's own SDK. */
export class WatchedManager extends WatchedMetrics {
  readonly clock = new ManualClock();
  readonly fake = new FakeHomeserver({ clock: this.clock });
  readonly manager: MatrixClientManager;
  readonly #spans = new InMemorySpanExporter();

  constructor(options: Partial<MatrixClientManagerOptions> = {}) {
    super();
    this.manager = new MatrixClientManager({
      homeserverUrl: this.fake.baseUrl,
      admin: this.fake.admin,
      fetch: this.fake.fetch,
      clock: this.clock,
      meterProvider: this.meterProvider,
      tracerProvider: new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter: this.#spans })] }),
      ...options,
    });
  }

  get spans(): readonly ReadableSpan[] {
    return this.#spans.getFinishedSpans();
  }

  override async close(): Promise<void> {
    await this.manager.shutdown();
    await super.close();
    await this.fake.close();
  }
}
