import { noTelemetry } from '../../src/core/telemetry.js';
import type { Telemetry } from '../../src/core/telemetry.js';

/** A telemetry that appends to `calls` what it is told about requests. */
export function recordedTelemetry(calls: unknown[]): Telemetry {
  return {
    ...noTelemetry,
    request: (method, path) => {
      calls.push(['begun', method, path]);
      return { sent: () => calls.push(['sent']), ended: (...end) => calls.push(['ended', ...end]) };
    },
    requestRepeated: (method, path) => calls.push(['repeated', method, path]),
    malformed: (parts) => calls.push(['malformed', parts]),
  };
}
