import { metrics } from '@opentelemetry/api';
import type { Attributes, Meter, MeterProvider, Span, TracerProvider } from '@opentelemetry/api';
import { clientEventTypes } from '../core/client-event.js';
import type { ClientEvent, ClientEventType, Provenance } from '../core/client-event.js';
import type { Clock } from '../core/clock.js';
import type { Decryption } from '../core/decryption.js';
import type {
  CallbackOutcome,
  KeyBackupFailure,
  KeyRequestResult,
  RequestWatch,
  RoomKeyEvent,
  SyncKind,
  SyncWatch,
  Telemetry,
} from '../core/telemetry.js';
import { publish } from './channels.js';
import { safeMeter, ignoringErrors } from './contained.js';
import { EncryptionTelemetry } from './encryption-telemetry.js';
import { observeGauges } from './gauges.js';
import type { Gauges } from './gauges.js';
import { instruments } from './instruments.js';
import { RequestTelemetry } from './request-telemetry.js';
import { counterSeries, durationSeries, eachName, fromNames } from './series.js';
import type { Count, Durations, Series } from './series.js';
import { endSpan, errorType, Spans } from './spans.js';
import type { TelemetryStats } from './telemetry-stats.js';

export interface ManagerTelemetryOptions {
  readonly clock: Clock;
  /** Host of the homeserver; a label of all metrics. */
  readonly serverAddress: string;
  /** @default the global one at construction */
  readonly meterProvider?: MeterProvider | undefined;
  /** @default the global one */
  readonly tracerProvider?: TracerProvider | undefined;
}

const provenances: readonly Provenance[] = ['live', 'backlog', 'gap-fill'];
/** The values of `StopReason`, exported as 0 from the start. */
const stopReasons = ['requested', 'idle', 'evicted', 'shutdown', 'loggedOut', 'failed'];
const syncKinds: readonly SyncKind[] = ['initial', 'catch-up', 'live'];

interface Start {
  readonly begunAt: number;
  readonly span: Span;
}

/**
 * Counts and measures the operations of one manager, for `stats()`, OpenTelemetry and the diagnostics channels.
 *
 * This file is long because it implements one interface with methods for each part of the library.
 */
export class ManagerTelemetry implements Telemetry {
  readonly #clock: Clock;
  readonly #meter: Meter;
  readonly #common: Attributes;
  readonly #spans: Spans;
  readonly #starting = new Map<string, Start>();
  readonly #starts: Series<Count>;
  readonly #startDuration: Series<Durations>;
  readonly #stops: Series<Count>;
  readonly #syncDuration: Readonly<Record<SyncKind, Durations>>;
  readonly #syncProcessing: Readonly<Record<SyncKind, Durations>>;
  readonly #malformedParts: Count;
  readonly #events: Readonly<Record<ClientEventType, Readonly<Record<Provenance, Count>>>>;
  readonly #callbacks: Readonly<Record<CallbackOutcome, Count>>;
  readonly #deadLetters: Count;
  readonly #encryption: EncryptionTelemetry;
  readonly #callbackDuration: Readonly<Record<CallbackOutcome, Durations>>;
  readonly #gaps: Readonly<Record<'filled' | 'open', Count>>;
  readonly #gapEvents: Count;
  readonly #checkpoints: Readonly<Record<'stored' | 'failed', Durations>>;
  readonly #sends: Readonly<Record<'sent' | 'failed', Durations>>;
  readonly #provisions: Readonly<Record<'created' | 'existing' | 'failed', Durations>>;
  readonly #requests: RequestTelemetry;
  readonly #outages: Count;
  #down = false;

  constructor(options: ManagerTelemetryOptions) {
    const { clock, serverAddress, meterProvider = metrics.getMeterProvider(), tracerProvider } = options;
    this.#clock = clock;
    this.#common = { 'server.address': serverAddress };
    this.#spans = new Spans(tracerProvider);
    this.#meter = safeMeter(meterProvider);
    const counter = (name: keyof typeof instruments): Series<Count> =>
      counterSeries(this.#meter, instruments[name], this.#common);
    const duration = (name: keyof typeof instruments): Series<Durations> =>
      durationSeries(this.#meter, instruments[name], this.#common);
    this.#starts = counter('starts');
    for (const outcome of ['live', 'failed'])
      for (const resumed of ['true', 'false']) this.#starts.at(outcome, resumed);
    this.#startDuration = duration('startDuration');
    this.#stops = counter('stops');
    for (const reason of stopReasons) this.#stops.at(reason);
    this.#syncDuration = eachName(syncKinds, duration('syncDuration'));
    this.#syncProcessing = eachName(syncKinds, duration('syncProcessing'));
    this.#malformedParts = counter('malformedParts').at();
    const events = counter('events');
    this.#events = fromNames(clientEventTypes, (type) =>
      fromNames(provenances, (provenance) => events.at(type, provenance)),
    );
    this.#callbacks = eachName(['handled', 'failed'], counter('callbacks'));
    this.#deadLetters = counter('deadLetters').at();
    this.#encryption = new EncryptionTelemetry(this.#meter, this.#common);
    this.#callbackDuration = eachName(['handled', 'failed'], duration('callbackDuration'));
    this.#gaps = eachName(['filled', 'open'], counter('gaps'));
    this.#gapEvents = counter('gapEvents').at();
    this.#checkpoints = eachName(['stored', 'failed'], duration('checkpointDuration'));
    this.#sends = eachName(['sent', 'failed'], duration('sendDuration'));
    this.#provisions = eachName(['created', 'existing', 'failed'], duration('provisionDuration'));
    this.#requests = new RequestTelemetry(clock, this.#meter, this.#common);
    this.#outages = counter('outages').at();
  }

  /** Calls `read` at each collection of metrics. Returns a function that ends this. */
  registerGauges(read: () => Gauges): () => void {
    const encryption = this.#encryption;
    return observeGauges(this.#meter, this.#common, () => ({ ...read(), keysToBackUp: encryption.keysToBackUp }));
  }

  request(method: string, path: string): RequestWatch {
    return this.#requests.begin(method, path);
  }

  requestRepeated(method: string, path: string): void {
    this.#requests.repeated(method, path);
  }

  clientChanged(userId: string, from: string, to: string, resumed: boolean, errorCode?: string): void {
    const start = this.#starting.get(userId);
    if (to === 'starting' && !start) {
      this.#starting.set(userId, { begunAt: this.#clock.now(), span: this.#spans.begin('matrix.client.start') });
    }
    if (from !== 'starting' || !start) return;
    this.#starting.delete(userId);
    const durationMs = this.#clock.now() - start.begunAt;
    const failed = to === 'failed';
    const outcome = failed ? 'failed' : 'live';
    this.#starts.at(outcome, String(resumed)).add();
    if (!failed) this.#startDuration.at(String(resumed)).record(durationMs);
    ignoringErrors(() => start.span.setAttribute('resumed', resumed), undefined);
    endSpan(start.span, failed ? (errorCode ?? '_OTHER') : undefined);
    const error = failed && errorCode !== undefined && { errorCode };
    publish('matrix-client-manager:client.start', () => ({ userId, outcome, resumed, durationMs, ...error }));
  }

  clientStopped(userId: string, reason: string): void {
    this.#stops.at(reason).add();
    publish('matrix-client-manager:client.stop', () => ({ userId, reason }));
  }

  sync(userId: string, kind: SyncKind, durationMs: number): SyncWatch {
    this.#syncDuration[kind].record(durationMs);
    const answeredAt = this.#clock.now();
    const span = this.#spans.beginRoot('matrix.sync', this.#syncDuration[kind].labels);
    return async ({ rooms, events }, take) => {
      await this.#spans.runAndEnd(span, take);
      const processingMs = this.#clock.now() - answeredAt;
      this.#syncProcessing[kind].record(processingMs);
      publish('matrix-client-manager:sync', () => ({ userId, kind, durationMs, processingMs, rooms, events }));
    };
  }

  malformed(parts: number): void {
    this.#malformedParts.add(parts);
  }

  event(type: ClientEventType, provenance: Provenance): void {
    this.#events[type][provenance].add();
  }

  async callback(event: ClientEvent, attempt: number, run: () => void | Promise<void>): Promise<void> {
    const { userId, roomId, type, provenance } = event;
    const begunAt = this.#clock.now();
    let outcome: CallbackOutcome = 'failed';
    try {
      await this.#spans.run('matrix.callback', this.#events[type][provenance].labels, run);
      outcome = 'handled';
    } finally {
      const durationMs = this.#clock.now() - begunAt;
      this.#callbacks[outcome].add();
      this.#callbackDuration[outcome].record(durationMs);
      publish('matrix-client-manager:callback', () => {
        const id = 'eventId' in event && { eventId: event.eventId };
        return { userId, roomId, ...id, type, provenance, attempt, outcome, durationMs };
      });
    }
  }

  decryption(result: Decryption): void {
    this.#encryption.decryption(result);
  }

  keyCommit(stored: boolean, durationMs: number): void {
    this.#encryption.keyCommit(stored, durationMs);
  }

  roomKeys(event: RoomKeyEvent, count: number): void {
    this.#encryption.roomKeys(event, count);
  }

  keyRequest(result: KeyRequestResult): void {
    this.#encryption.keyRequest(result);
  }

  keysToBackUp(change: number): void {
    this.#encryption.keysToBackUp += change;
  }

  keyBackupFailed(reason: KeyBackupFailure): void {
    this.#encryption.keyBackupFailed(reason);
  }

  deadLetter(): void {
    this.#deadLetters.add();
  }

  gap(userId: string, roomId: string, events: number, complete: boolean, durationMs: number): void {
    this.#gaps[complete ? 'filled' : 'open'].add();
    if (events > 0) this.#gapEvents.add(events);
    publish('matrix-client-manager:gap', () => ({ userId, roomId, events, complete, durationMs }));
  }

  async checkpoint(userId: string, store: () => Promise<void>): Promise<void> {
    const begunAt = this.#clock.now();
    let outcome: 'stored' | 'failed' = 'failed';
    try {
      await store();
      outcome = 'stored';
    } finally {
      const durationMs = this.#clock.now() - begunAt;
      this.#checkpoints[outcome].record(durationMs);
      publish('matrix-client-manager:checkpoint', () => ({ userId, outcome, durationMs }));
    }
  }

  async send<T>(userId: string, roomId: string, send: () => Promise<T>): Promise<T> {
    const begunAt = this.#clock.now();
    const ended = (outcome: 'sent' | 'failed', errorCode?: string): void => {
      const durationMs = this.#clock.now() - begunAt;
      this.#sends[outcome].record(durationMs);
      const error = errorCode !== undefined && { errorCode };
      publish('matrix-client-manager:send', () => ({ userId, roomId, outcome, durationMs, ...error }));
    };
    try {
      const sent = await this.#spans.run('matrix.send', this.#common, send);
      ended('sent');
      return sent;
    } catch (error) {
      ended('failed', errorType(error));
      throw error;
    }
  }

  async provision<T extends { readonly created: boolean }>(provision: () => Promise<T>): Promise<T> {
    const begunAt = this.#clock.now();
    let outcome: 'created' | 'existing' | 'failed' = 'failed';
    try {
      const user = await this.#spans.run('matrix.provision', this.#common, provision);
      outcome = user.created ? 'created' : 'existing';
      return user;
    } finally {
      this.#provisions[outcome].record(this.#clock.now() - begunAt);
    }
  }

  /** Also called after each failed probe of a homeserver that is down. */
  homeserver(state: 'up' | 'down'): void {
    if (state === 'down' && !this.#down) this.#outages.add();
    this.#down = state === 'down';
  }

  detached<T>(run: () => T): T {
    return this.#spans.detached(run);
  }

  /** Counts and durations since the manager was made. */
  stats(): TelemetryStats {
    return {
      starts: {
        resumed: this.#startDuration.at('true').stats,
        fresh: this.#startDuration.at('false').stats,
        failed: this.#starts.at('failed', 'true').value + this.#starts.at('failed', 'false').value,
      },
      stops: Object.fromEntries([...this.#stops].map(({ labels, value }) => [String(labels.reason), value])),
      syncs: statsOf(this.#syncDuration),
      syncProcessing: statsOf(this.#syncProcessing),
      malformedParts: this.#malformedParts.value,
      events: fromNames(clientEventTypes, (type) =>
        fromNames(provenances, (provenance) => this.#events[type][provenance].value),
      ),
      callbacks: { ...statsOf(this.#callbackDuration), deadLetters: this.#deadLetters.value },
      ...this.#encryption.stats,
      gaps: { filled: this.#gaps.filled.value, open: this.#gaps.open.value, events: this.#gapEvents.value },
      checkpoints: statsOf(this.#checkpoints),
      sends: statsOf(this.#sends),
      provisions: statsOf(this.#provisions),
      requests: this.#requests.stats,
      outages: this.#outages.value,
    };
  }
}

function statsOf<Name extends string>(durations: Readonly<Record<Name, Durations>>): Record<Name, Durations['stats']> {
  return fromNames(Object.keys(durations) as Name[], (name) => durations[name].stats);
}
