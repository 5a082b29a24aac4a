import { clientEventTypes } from '../core/client-event.js';
import type { RequestResult } from '../core/diagnostic-messages.js';
import type { Diagnostics } from '../core/diagnostics.js';
import { endpointOf, methodOf, statusClass } from './endpoint.js';
import { instruments, provenances } from './instruments.js';
import type { Count, SeriesMaker } from './series.js';
import type { RequestStats, TelemetryStats } from './telemetry-stats.js';

/** Subscribes the metrics of each part of the library. Returns a function that reads their values. */
export function recordMetrics(diagnostics: Diagnostics, series: SeriesMaker): () => TelemetryStats {
  const readers = [
    clientMetrics(diagnostics, series),
    syncMetrics(diagnostics, series),
    callbackMetrics(diagnostics, series),
    encryptionMetrics(diagnostics, series),
    checkpointMetrics(diagnostics, series),
    sendingMetrics(diagnostics, series),
    requestMetrics(diagnostics, series),
  ] as const;
  const [clients, syncs, callbacks, encryption, checkpoints, sending, requests] = readers;
  return () => ({
    ...clients(),
    ...syncs(),
    ...callbacks(),
    ...encryption(),
    ...checkpoints(),
    ...sending(),
    ...requests(),
  });
}

function clientMetrics(diagnostics: Diagnostics, series: SeriesMaker) {
  const starts = series.counter(instruments.starts);
  const startDuration = series.duration(instruments.startDuration);
  const stops = series.counter(instruments.stops);
  diagnostics.subscribeToTrace('clientStart', (_start, { outcome, result }, durationMs) => {
    const resumed = String(result?.resumed ?? false);
    starts.at(outcome === 'ok' ? 'live' : 'failed', resumed).add();
    if (outcome === 'ok') startDuration.at(resumed).record(durationMs);
  });
  diagnostics.subscribe('clientStopped', ({ reason }) => stops.at(reason).add());
  return () => ({
    starts: {
      resumed: startDuration.at('true').value,
      fresh: startDuration.at('false').value,
      failed: starts.at('failed', 'true').value + starts.at('failed', 'false').value,
    },
    stops: stops.values,
  });
}

function syncMetrics(diagnostics: Diagnostics, series: SeriesMaker) {
  const syncs = series.duration(instruments.syncDuration);
  const processing = series.duration(instruments.syncProcessing);
  const malformedParts = series.counter(instruments.malformedParts).at();
  const gaps = series.counter(instruments.gaps);
  const gapEvents = series.counter(instruments.gapEvents).at();
  diagnostics.subscribe('syncReceived', ({ kind, durationMs }) => syncs.at(kind).record(durationMs));
  diagnostics.subscribeToTrace('sync', ({ kind }, { outcome }, durationMs) => {
    if (outcome === 'ok') processing.at(kind).record(durationMs);
  });
  diagnostics.subscribe('malformed', ({ parts }) => malformedParts.add(parts));
  diagnostics.subscribe('gap', ({ events, complete }) => {
    gaps.at(complete ? 'filled' : 'open').add();
    if (events > 0) gapEvents.add(events);
  });
  return () => ({
    syncs: syncs.values,
    syncProcessing: processing.values,
    malformedParts: malformedParts.value,
    gaps: { ...gaps.values, events: gapEvents.value },
  });
}

function callbackMetrics(diagnostics: Diagnostics, series: SeriesMaker) {
  const eventSeries = series.counter(instruments.events);
  const events = fromNames(clientEventTypes, (type) =>
    fromNames(provenances, (provenance) => eventSeries.at(type, provenance)),
  );
  const calls = series.counter(instruments.callbacks);
  const callDuration = series.duration(instruments.callbackDuration);
  const deadLetters = series.counter(instruments.deadLetters).at();
  diagnostics.subscribe('event', ({ type, provenance }) => events[type][provenance].add());
  diagnostics.subscribeToTrace('callback', (_call, { outcome }, durationMs) => {
    const label = outcome === 'ok' ? 'handled' : 'failed';
    calls.at(label).add();
    callDuration.at(label).record(durationMs);
  });
  diagnostics.subscribe('deadLetter', () => deadLetters.add());
  return () => ({
    events: fromNames(clientEventTypes, (type) =>
      fromNames(provenances, (provenance) => events[type][provenance].value),
    ),
    callbacks: { ...callDuration.values, deadLetters: deadLetters.value },
  });
}

function encryptionMetrics(diagnostics: Diagnostics, series: SeriesMaker) {
  const decryptions = series.counter(instruments.decryptions);
  const commits = series.counter(instruments.keyCommits);
  const commitTime = series.counter(instruments.keyCommitTime).at();
  const roomKeys = series.counter(instruments.roomKeys);
  const keyRequests = series.counter(instruments.keyRequests);
  const backupFailures = series.counter(instruments.keyBackupFailures);
  let keysToBackUp = 0;
  diagnostics.subscribe('decryption', (result) => {
    decryptions.at(result.state === 'failed' ? result.reason : 'decrypted').add();
  });
  diagnostics.subscribe('keyCommit', ({ stored, durationMs }) => {
    commits.at(stored ? 'stored' : 'failed').add();
    if (durationMs > 0) commitTime.add(durationMs / 1_000);
  });
  diagnostics.subscribe('roomKeys', ({ event, count }) => roomKeys.at(event).add(count));
  diagnostics.subscribe('keyRequest', ({ result }) => keyRequests.at(result).add());
  diagnostics.subscribe('keyBackupFailed', ({ reason }) => backupFailures.at(reason).add());
  diagnostics.subscribe('keysToBackUp', ({ change }) => {
    keysToBackUp += change;
  });
  return () => ({
    decryptions: decryptions.values,
    keyCommits: commits.values,
    roomKeys: roomKeys.values,
    keyRequests: keyRequests.values,
    keyBackup: { waiting: keysToBackUp, failures: backupFailures.values },
  });
}

function checkpointMetrics(diagnostics: Diagnostics, series: SeriesMaker) {
  const checkpoints = series.duration(instruments.checkpointDuration);
  diagnostics.subscribeToTrace('checkpoint', (_checkpoint, { outcome }, durationMs) => {
    checkpoints.at(outcome === 'ok' ? 'stored' : 'failed').record(durationMs);
  });
  return () => ({ checkpoints: checkpoints.values });
}

function sendingMetrics(diagnostics: Diagnostics, series: SeriesMaker) {
  const sends = series.duration(instruments.sendDuration);
  const provisions = series.duration(instruments.provisionDuration);
  diagnostics.subscribeToTrace('send', (_send, { outcome }, durationMs) => {
    sends.at(outcome === 'ok' ? 'sent' : 'failed').record(durationMs);
  });
  diagnostics.subscribeToTrace('provision', (_request, end, durationMs) => {
    const succeeded = end.outcome === 'ok' && (end.result.created ? 'created' : 'existing');
    provisions.at(succeeded || 'failed').record(durationMs);
  });
  return () => ({ sends: sends.values, provisions: provisions.values });
}

function requestMetrics(diagnostics: Diagnostics, series: SeriesMaker) {
  const requests = series.counter(instruments.requests);
  const durations = series.duration(instruments.requestDuration);
  const retries = series.counter(instruments.retries);
  const outages = series.counter(instruments.outages).at();
  let isDown = false;
  diagnostics.subscribe('request', ({ method, path, status, result, durationMs }) => {
    const endpoint = endpointOf(path);
    requests.at(methodOf(method), endpoint, statusClass(status), result).add();
    if (durationMs !== undefined) durations.at(methodOf(method), endpoint, result).record(durationMs);
  });
  diagnostics.subscribe('requestRepeated', ({ method, path }) => {
    retries.at(methodOf(method), endpointOf(path)).add();
  });
  diagnostics.subscribe('homeserver', ({ state }) => {
    if (state === 'down' && !isDown) outages.add();
    isDown = state === 'down';
  });
  return () => ({
    requests: { count: total(requests), retries: total(retries), byEndpoint: [...requests].map(toRequestStats) },
    outages: outages.value,
  });
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
