import type { Attributes, BatchObservableCallback, Meter, Observable } from '@opentelemetry/api';
import { instruments } from './instruments.js';

/** What may have to wait for its turn, and where. */
export type QueueName =
  /** Messages being sent, and those that wait for them. */
  | 'send'
  /** Messages sent with `durable: true` that the homeserver has not taken yet. */
  | 'outbox'
  /** Requests held back by `rateLimit` and `adminRateLimit`. */
  | 'rateLimiter'
  /** Clients that wait for a start's turn, or for room under `maxClients`. */
  | 'starts'
  /** Admin calls that wait for a place under `adminConcurrency`. */
  | 'admin'
  /** Clients that wait for a homeserver that is down. */
  | 'homeserver';

/** How things stand now. */
export interface Gauges {
  /** How many clients are in each state. */
  readonly clients: Readonly<Record<string, number>>;
  /** How many of the live ones poll only now and then, since their users are quiet. */
  readonly resting: number;
  /** How many calls hold a client. */
  readonly leases: number;
  /** How many connections are open. */
  readonly openConnections: number;
  /** The longest time since a sync of a client that does not rest was answered, in milliseconds; up to `pollTimeoutMs` is normal. */
  readonly syncLagMs: number;
  /** How many rooms of all clients have missing events that the homeserver fails to tell. */
  readonly stalledRooms: number;
  /** How many clients lack rooms, or what came while no callback was registered, because the homeserver fails to tell. */
  readonly incompleteClients: number;
  /** How many durable sends could not be sent for a minute, without an outage, and are still tried. */
  readonly stalledSends: number;
  /** How many durable sends were given up after `sendTimeoutMs`, and neither sent again nor discarded since. */
  readonly givenUpSends: number;
  /** How many calls of callbacks have run for longer than `callbackTimeoutMs`, and still run. */
  readonly overdueCallbacks: number;
  /** Whether the homeserver counts as reachable. */
  readonly homeserver: 'up' | 'down';
  /** How many devices have their keys in memory. */
  readonly openDevices: number;
  /** How much waits in each queue. */
  readonly queues: Readonly<Record<QueueName, number>>;
  /** Admin calls under way, and waiting for a place. */
  readonly admin: { readonly running: number; readonly waiting: number };
}

/** Has the gauges read whenever metrics are collected. Returns what ends that. */
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
