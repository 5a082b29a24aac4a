import type { Attributes, Meter } from '@opentelemetry/api';
import type { Clock } from '../core/clock.js';
import type { RequestResult, RequestWatch } from '../core/telemetry.js';
import { publish } from './channels.js';
import { endpointOf, methodOf, statusClass } from './endpoint.js';
import { instruments } from './instruments.js';
import { counterSeries, durationSeries } from './series.js';
import type { Count, Durations, Series } from './series.js';
import type { RequestStats, TelemetryStats } from './telemetry-stats.js';

/** Counts and measures the requests to the homeserver. */
export class RequestTelemetry {
  readonly #clock: Clock;
  readonly #requests: Series<Count>;
  readonly #durations: Series<Durations>;
  readonly #retries: Series<Count>;

  constructor(clock: Clock, meter: Meter, common: Attributes) {
    this.#clock = clock;
    this.#requests = counterSeries(meter, instruments.requests, common);
    this.#durations = durationSeries(meter, instruments.requestDuration, common);
    this.#retries = counterSeries(meter, instruments.retries, common);
    this.#retries.at('GET', '/_matrix/client/v3/sync');
  }

  begin(method: string, path: string): RequestWatch {
    const endpoint = endpointOf(path);
    const known = methodOf(method);
    let sentAt: number | undefined;
    return {
      sent: () => {
        sentAt = this.#clock.now();
      },
      ended: (result, status) => {
        const durationMs = sentAt === undefined ? 0 : this.#clock.now() - sentAt;
        this.#requests.at(known, endpoint, statusClass(status), result).add();
        if (sentAt !== undefined) this.#durations.at(known, endpoint, result).record(durationMs);
        publish('matrix-client-manager:request', () => ({ method, endpoint, path, status, result, durationMs }));
      },
    };
  }

  repeated(method: string, path: string): void {
    this.#retries.at(methodOf(method), endpointOf(path)).add();
  }

  get stats(): TelemetryStats['requests'] {
    const requests = [...this.#requests];
    return { count: total(requests), retries: total(this.#retries), byEndpoint: requests.map(statsOf) };
  }
}

function total(counts: Iterable<Count>): number {
  let sum = 0;
  for (const { value } of counts) sum += value;
  return sum;
}

function statsOf({ labels, value }: Count): RequestStats {
  const { method, endpoint, status, result } = labels;
  return {
    method: String(method),
    endpoint: String(endpoint),
    status: String(status),
    result: result as RequestResult,
    count: value,
  };
}
