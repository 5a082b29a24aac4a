import { Diagnostics } from '../../src/core/diagnostics.js';
import { ManualClock } from '../../src/testing/manual-clock.js';

/** Diagnostics that append to `calls` what is published about requests. */
export function recordedDiagnostics(calls: unknown[]): Diagnostics {
  const diagnostics = new Diagnostics(new ManualClock());
  diagnostics.subscribe('request', ({ method, path, result, status, durationMs }) => {
    calls.push([durationMs === undefined ? 'not sent' : 'ended', `${method} ${path}`, result, status]);
  });
  diagnostics.subscribe('requestRepeated', ({ method, path }) => calls.push(['repeated', method, path]));
  diagnostics.subscribe('malformed', ({ parts }) => calls.push(['malformed', parts]));
  return diagnostics;
}
