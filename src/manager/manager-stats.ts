import type { Gauges } from '../telemetry/gauges.js';
import type { TelemetryStats } from '../telemetry/telemetry-stats.js';
import type { ClientCounts, StopReason } from '../users/client-state.js';

/** Current gauges and cumulative counts of the manager: the same numbers that OpenTelemetry exports. */
export interface ManagerStats extends Gauges, TelemetryStats {
  readonly clients: ClientCounts;
  readonly stops: Readonly<Record<StopReason, number>>;
}
