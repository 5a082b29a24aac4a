import type { Attributes } from '@opentelemetry/api';
import { clientEventTypes } from '../core/client-event.js';
import type { RequestResult, TraceName } from '../core/diagnostic-messages.js';
import type { Diagnostics } from '../core/diagnostics.js';
import type { SafeMeter } from './contained.js';
import { methodOf, statusClass } from './endpoint.js';
import type { EndpointLabels } from './endpoint-labels.js';
import { provenances } from './instruments.js';
import { makeSeries } from './series.js';
import type { Count, Durations } from './series.js';
import type { RequestStats, TelemetryStats } from './telemetry-stats.js';

/** Reads what was recorded since the manager was made. */
export interface RecordedMetrics {
  stats(): TelemetryStats;
  /** Room keys of running devices that are not in the key backup yet. */
  keysToBackUp(): number;
}

/** Records the metrics of one manager. @param common - labels of all metrics */
export function recordMetrics(
  diagnostics: Diagnostics,
  meter: SafeMeter,
  common: Attributes,
  endpoints: EndpointLabels,
): RecordedMetrics {
  const series = makeSeries(meter, common);
  const events = fromNames(clientEventTypes, (type) =>
    fromNames(provenances, (provenance) => series.events.at(type, provenance)),
  );
  const recordDuration = (name: TraceName, durations: { at(outcome: string): Durations }, succeeded: string): void =>
    diagnostics.subscribe(name, (_work, { outcome }, durationMs) => {
      durations.at(outcome === 'ok' ? succeeded : 'failed').record(durationMs);
    });
  let keysToBackUp = 0;
  let isDown = false;

  diagnostics.subscribe('clientStart', (_start, { outcome, result }, durationMs) => {
    const resumed = String(result?.resumed ?? false);
    series.starts.at(outcome === 'ok' ? 'live' : 'failed', resumed).add();
    if (outcome === 'ok') series.startDuration.at(resumed).record(durationMs);
  });
  diagnostics.subscribe('clientStopped', ({ reason }) => series.stops.at(reason).add());
  diagnostics.subscribe('syncReceived', ({ kind, durationMs }) => series.syncDuration.at(kind).record(durationMs));
  diagnostics.subscribe('sync', ({ kind }, { outcome }, durationMs) => {
    if (outcome === 'ok') series.syncProcessing.at(kind).record(durationMs);
  });
  diagnostics.subscribe('malformed', ({ parts }) => series.malformedParts.at().add(parts));
  diagnostics.subscribe('gap', ({ events: fetched, complete }) => {
    series.gaps.at(complete ? 'filled' : 'open').add();
    if (fetched > 0) series.gapEvents.at().add(fetched);
  });
  diagnostics.subscribe('event', ({ type, provenance }) => events[type][provenance].add());
  diagnostics.subscribe('callback', (_call, { outcome }) => {
    series.callbacks.at(outcome === 'ok' ? 'handled' : 'failed').add();
  });
  recordDuration('callback', series.callbackDuration, 'handled');
  diagnostics.subscribe('deadLetter', () => series.deadLetters.at().add());
  diagnostics.subscribe('decryption', (result) => {
    series.decryptions.at(result.state === 'failed' ? result.reason : 'decrypted').add();
  });
  diagnostics.subscribe('keyCommit', ({ stored, durationMs }) => {
    series.keyCommits.at(stored ? 'stored' : 'failed').add();
    if (durationMs > 0) series.keyCommitTime.at().add(durationMs / 1_000);
  });
  diagnostics.subscribe('roomKeys', ({ event, count }) => series.roomKeys.at(event).add(count));
  diagnostics.subscribe('keysWithheld', ({ reason, count }) => series.keysWithheld.at(reason).add(count));
  diagnostics.subscribe('keyRequest', ({ result }) => series.keyRequests.at(result).add());
  diagnostics.subscribe('keyBackupFailed', ({ reason }) => series.keyBackupFailures.at(reason).add());
  diagnostics.subscribe('keysToBackUp', ({ change }) => {
    keysToBackUp += change;
  });
  recordDuration('checkpoint', series.checkpointDuration, 'stored');
  recordDuration('send', series.sendDuration, 'sent');
  diagnostics.subscribe('provision', (_request, end, durationMs) => {
    const succeeded = end.outcome === 'ok' && (end.result.created ? 'created' : 'existing');
    series.provisionDuration.at(succeeded || 'failed').record(durationMs);
  });
  diagnostics.subscribe('request', ({ method, status, result, durationMs, ...request }) => {
    const endpoint = endpoints.labelOf(request);
    series.requests.at(methodOf(method), endpoint, statusClass(status), result).add();
    if (durationMs !== undefined) series.requestDuration.at(methodOf(method), endpoint, result).record(durationMs);
  });
  diagnostics.subscribe('requestRepeated', ({ method, ...request }) => {
    series.retries.at(methodOf(method), endpoints.labelOf(request)).add();
  });
  diagnostics.subscribe('homeserver', ({ state }) => {
    if (state === 'down' && !isDown) series.outages.at().add();
    isDown = state === 'down';
  });

  const stats = (): TelemetryStats => ({
    starts: {
      resumed: series.startDuration.at('true').value,
      fresh: series.startDuration.at('false').value,
      failed: series.starts.at('failed', 'true').value + series.starts.at('failed', 'false').value,
    },
    stops: series.stops.values,
    syncs: series.syncDuration.values,
    syncProcessing: series.syncProcessing.values,
    malformedParts: series.malformedParts.at().value,
    events: fromNames(clientEventTypes, (type) =>
      fromNames(provenances, (provenance) => events[type][provenance].value),
    ),
    callbacks: { ...series.callbackDuration.values, deadLetters: series.deadLetters.at().value },
    decryptions: series.decryptions.values,
    keyCommits: series.keyCommits.values,
    roomKeys: series.roomKeys.values,
    keysWithheld: series.keysWithheld.values,
    keyRequests: series.keyRequests.values,
    keyBackup: { waiting: keysToBackUp, failures: series.keyBackupFailures.values },
    gaps: { ...series.gaps.values, events: series.gapEvents.at().value },
    checkpoints: series.checkpointDuration.values,
    sends: series.sendDuration.values,
    provisions: series.provisionDuration.values,
    requests: {
      count: total(series.requests),
      retries: total(series.retries),
      byEndpoint: [...series.requests].map(toRequestStats),
    },
    outages: series.outages.at().value,
  });
  return { stats, keysToBackUp: () => keysToBackUp };
}

function total(counts: Iterable<Count>): number {
  let sum = 0;
  for (const { value } of counts) sum += value;
  return sum;
}

function toRequestStats({ labels, value }: Count): RequestStats {
  const { method, endpoint, status, result } = labels;
  return {
    method: String(method),
    endpoint: String(endpoint),
    status: String(status),
    result: result as RequestResult,
    count: value,
  };
}

function fromNames<Name extends string, T>(names: readonly Name[], value: (name: Name) => T): Record<Name, T> {
  return Object.fromEntries(names.map((name) => [name, value(name)])) as Record<Name, T>;
}
