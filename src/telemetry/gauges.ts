import type { Attributes, BatchObservableCallback, Meter, Observable } from '@opentelemetry/api';
import { instruments } from './instruments.js';

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

/** Registers observable gauges; `read` is called at each collection. Returns a function that unregisters them. */
export function observeGauges(
  meter: Meter,
  common: Attributes,
  read: () => Gauges & { readonly keysToBackUp: number },
): () => void {
  const make = (description: { kind: string; name: string; unit: string; description: string }): Observable =>
    description.kind === 'gauge'
      ? meter.createObservableGauge(description.name, description)
      : meter.createObservableUpDownCounter(description.name, description);
  const clients = make(instruments.clients);
  const resting = make(instruments.resting);
  const leases = make(instruments.leases);
  const openConnections = make(instruments.openConnections);
  const stalledRooms = make(instruments.stalledRooms);
  const incompleteClients = make(instruments.incompleteClients);
  const syncLag = make(instruments.syncLag);
  const stalledSends = make(instruments.stalledSends);
  const givenUpSends = make(instruments.givenUpSends);
  const overdueCallbacks = make(instruments.overdueCallbacks);
  const breaker = make(instruments.breaker);
  const queues = make(instruments.queues);
  const adminPool = make(instruments.adminPool);
  const openDevices = make(instruments.openDevices);
  const keysToBackUp = make(instruments.keysToBackUp);
  const all = [
    clients,
    resting,
    leases,
    openConnections,
    stalledRooms,
    incompleteClients,
    syncLag,
    stalledSends,
    givenUpSends,
    overdueCallbacks,
    breaker,
    queues,
    adminPool,
    openDevices,
    keysToBackUp,
  ];
  const callback: BatchObservableCallback = (result) => {
    const now = read();
    for (const [state, number] of Object.entries(now.clients)) result.observe(clients, number, { state, ...common });
    result.observe(resting, now.resting, common);
    result.observe(stalledRooms, now.stalledRooms, common);
    result.observe(incompleteClients, now.incompleteClients, common);
    result.observe(leases, now.leases, common);
    result.observe(openConnections, now.openConnections, common);
    result.observe(stalledSends, now.stalledSends, common);
    result.observe(givenUpSends, now.givenUpSends, common);
    result.observe(overdueCallbacks, now.overdueCallbacks, common);
    result.observe(openDevices, now.openDevices, common);
    result.observe(keysToBackUp, now.keysToBackUp, common);
    result.observe(syncLag, now.syncLagMs / 1_000, common);
    result.observe(breaker, now.homeserver === 'up' ? 0 : 1, common);
    for (const [queue, length] of Object.entries(now.queues)) result.observe(queues, length, { queue, ...common });
    for (const [state, number] of Object.entries(now.admin)) result.observe(adminPool, number, { state, ...common });
  };
  meter.addBatchObservableCallback(callback, all);
  return () => meter.removeBatchObservableCallback(callback, all);
}
