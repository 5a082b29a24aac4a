import type { Gauges } from '../telemetry/gauges.js';
import type { TelemetryStats } from '../telemetry/telemetry-stats.js';
import type { ClientCounts, StopReason } from '../users/client-state.js';

/** What the manager is doing now, and what it has done: the numbers that OpenTelemetry gets. */
export interface ManagerStats extends Gauges, TelemetryStats {
  readonly clients: ClientCounts;
  readonly stops: Readonly<Record<StopReason, number>>;
}
