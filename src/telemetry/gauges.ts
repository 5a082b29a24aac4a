import type { Attributes, BatchObservableCallback, Observable } from '@opentelemetry/api';
import type { SafeMeter } from './contained.js';
import { instruments } from './instruments.js';
import type { Instruments } from './instruments.js';

/** The queues of a manager. */
export type QueueName =
  /** Messages that are queued or being sent. */
  | 'send'
  /** Messages sent with `durable: true` that the homeserver has not accepted yet. */
  | 'outbox'
  /** Requests delayed by `rateLimit` and `adminRateLimit`. */
  | 'rateLimiter'
  /** Starts of clients that wait because of `startConcurrency` or `maxClients`. */
  | 'starts'
  /** Admin API calls that wait because of `adminConcurrency`. */
  | 'admin'
  /** Clients that wait while the homeserver is down. */
  | 'homeserver';

/** Current values. */
export interface Gauges {
  /** Number of clients in each state. */
  readonly clients: Readonly<Record<string, number>>;
  /** Number of live clients that rest: they poll seldom, because their users are inactive. */
  readonly resting: number;
  /** Number of running calls that keep a client from being stopped as idle or evicted. */
  readonly leases: number;
  /** Number of open connections of `connect()`. */
  readonly openConnections: number;
  /** Longest time since the last sync response among clients that do not rest, in milliseconds. Up to `pollTimeoutMs` is normal. */
  readonly syncLagMs: number;
  /** Number of rooms, in all clients, with missing events that the homeserver fails to return. */
  readonly stalledRooms: number;
  /** Number of clients with missing rooms, or missing events from a time without callbacks, that the homeserver fails to return. */
  readonly incompleteClients: number;
  /** Number of durable sends that have been failing for a minute without an outage, and are still retried. */
  readonly stalledSends: number;
  /** Number of durable sends that were given up after `sendTimeoutMs`, and have not been sent again or discarded since. */
  readonly givenUpSends: number;
  /** Number of callback calls that are still running after `callbackTimeoutMs`. */
  readonly overdueCallbacks: number;
  /** Whether the manager considers the homeserver up or down. */
  readonly homeserver: 'up' | 'down';
  /** Number of devices whose keys are in memory. */
  readonly openDevices: number;
  /** Length of each queue. */
  readonly queues: Readonly<Record<QueueName, number>>;
  /** Number of running and waiting Admin API calls. */
  readonly admin: { readonly running: number; readonly waiting: number };
}

type GaugeName = {
  [Name in keyof Instruments]: Instruments[Name]['kind'] extends 'gauge' | 'level' ? Name : never;
}[keyof Instruments];

/** The value of each observable gauge: one number, or a number for each value of its label. */
function valuesOf(
  now: Gauges & { readonly keysToBackUp: number },
): Readonly<Record<GaugeName, number | Readonly<Record<string, number>>>> {
  return {
    ...now,
    syncLag: now.syncLagMs / 1_000,
    breaker: now.homeserver === 'up' ? 0 : 1,
    adminPool: now.admin,
  };
}

/** Registers observable gauges; `read` is called at each collection. Returns a function that unregisters them. */
export function observeGauges(
  meter: SafeMeter,
  common: Attributes,
  read: () => Parameters<typeof valuesOf>[0],
): () => void {
  const observables = new Map<GaugeName, Observable>();
  for (const [key, { kind, name, unit, description }] of Object.entries(instruments)) {
    if (kind === 'gauge') observables.set(key as GaugeName, meter.createObservableGauge(name, { unit, description }));
    if (kind === 'level') {
      observables.set(key as GaugeName, meter.createObservableUpDownCounter(name, { unit, description }));
    }
  }
  const callback: BatchObservableCallback = (result) => {
    const values = valuesOf(read());
    for (const [name, observable] of observables) {
      const value = values[name];
      const [label = ''] = Object.keys(instruments[name].labels);
      if (typeof value === 'number') result.observe(observable, value, common);
      else
        for (const [of, number] of Object.entries(value))
          result.observe(observable, number, { [label]: of, ...common });
    }
  };
  const all = [...observables.values()];
  meter.addBatchObservableCallback(callback, all);
  return () => meter.removeBatchObservableCallback(callback, all);
}
