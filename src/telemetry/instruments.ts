import { clientEventTypes } from '../core/client-event.js';
import type { Provenance } from '../core/client-event.js';
import type { DecryptionFailureReason } from '../core/decryption.js';
import type { SyncKind } from '../core/diagnostic-messages.js';
import { withheldReasons } from '../core/withheld-keys.js';

/** Kind of OpenTelemetry instrument. `gauge` and `level` are read at collection; a `level` can be summed across processes. */
export type InstrumentKind = 'counter' | 'duration' | 'gauge' | 'level';

/**
 * The labels besides `server.address`, with the values that are exported as 0 from the start. Each label has a bounded
 * set of values, and no value is an id.
 */
export type Labels = Readonly<Record<string, readonly string[]>>;

export interface Instrument<Kind extends InstrumentKind, L extends Labels = Labels> {
  readonly kind: Kind;
  readonly name: string;
  /** UCUM unit; the counted things are in braces. Durations are in seconds, by the manager's clock. */
  readonly unit: string;
  readonly description: string;
  readonly labels: L;
  /** Upper bounds of a duration's buckets, in seconds. */
  readonly buckets?: readonly number[];
}

/** Callbacks and storage calls: up to the time-out of a request. */
const SHORT = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
/** Starts, syncs and sends, which can take minutes during an outage. */
const LONG = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];

export const provenances: readonly Provenance[] = ['live', 'backlog', 'gap-fill'];
const syncKinds: readonly SyncKind[] = ['initial', 'catch-up', 'live'];
const decryptionResults: readonly ('decrypted' | DecryptionFailureReason)[] = [
  'decrypted',
  'missing-key',
  'before-device',
  'withheld',
  'not-joined',
  'untrusted-sender',
  'sender-mismatch',
  'replayed',
  'unreadable',
];

const noLabels = {};

function ofKind<Kind extends InstrumentKind>(kind: Kind) {
  return <const L extends Labels = typeof noLabels>(
    name: string,
    unit: string,
    description: string,
    labels = noLabels as L,
  ): Instrument<Kind, L> => ({ kind, name, unit, description, labels });
}

const counter = ofKind('counter');
const level = ofKind('level');
const gauge = ofKind('gauge');

function duration<const L extends Labels>(
  name: string,
  description: string,
  buckets: readonly number[],
  labels: L,
): Instrument<'duration', L> {
  return { kind: 'duration', name, unit: 's', description, labels, buckets };
}

/** All metrics of the library. The reference documentation is made from this list. */
export const instruments = {
  clients: level('matrix.client.count', '{client}', 'Clients by state', { state: [] }),
  resting: level(
    'matrix.client.resting',
    '{client}',
    'Live clients that rest: they poll seldom, because their users are inactive',
  ),
  stalledRooms: level(
    'matrix.room.stalled',
    '{room}',
    'Rooms, in all clients, with missing events that the homeserver fails to return',
  ),
  incompleteClients: level(
    'matrix.client.incomplete',
    '{client}',
    'Clients with missing rooms or missed events that the homeserver fails to return',
  ),
  leases: level(
    'matrix.client.leases',
    '{lease}',
    'Running calls that keep a client from being stopped as idle or evicted',
  ),
  openConnections: level(
    'matrix.client.connections',
    '{connection}',
    'Connections opened by connect() and not closed yet',
  ),
  starts: counter(
    'matrix.client.starts',
    '{start}',
    'Starts of clients, by outcome (live, failed) and by whether they used a stored position (resumed)',
    { outcome: ['live', 'failed'], resumed: ['true', 'false'] },
  ),
  startDuration: duration(
    'matrix.client.start.duration',
    'Time from the call until a client was live, including the wait in the start queue',
    LONG,
    { resumed: ['true', 'false'] },
  ),
  stops: counter('matrix.client.stops', '{stop}', 'Stops of clients that were live, by reason', {
    reason: ['requested', 'idle', 'evicted', 'shutdown', 'loggedOut', 'failed'],
  }),
  syncDuration: duration(
    'matrix.sync.duration',
    'Time until a sync response, including the wait of the homeserver for new events; kind is initial, catch-up (the first sync after a pause) or live',
    LONG,
    { kind: syncKinds },
  ),
  syncProcessing: duration(
    'matrix.sync.processing.duration',
    'Time from a sync response until its events were handed to the callbacks',
    SHORT,
    { kind: syncKinds },
  ),
  syncLag: gauge(
    'matrix.sync.lag',
    's',
    'Longest time since the last sync response among clients that do not rest; up to the poll timeout is normal',
  ),
  malformedParts: counter(
    'matrix.answer.malformed_parts',
    '{part}',
    'Parts of responses that violate the specification and were left out',
  ),
  events: counter('matrix.event.count', '{event}', 'Events handed to the callbacks, by type and provenance', {
    type: clientEventTypes,
    provenance: provenances,
  }),
  callbacks: counter('matrix.callback.count', '{call}', 'Callback calls, by outcome (handled, failed)', {
    outcome: ['handled', 'failed'],
  }),
  callbackDuration: duration('matrix.callback.duration', 'Duration of a callback call', SHORT, {
    outcome: ['handled', 'failed'],
  }),
  overdueCallbacks: level(
    'matrix.callback.overdue',
    '{call}',
    'Callback calls that are still running after callbackTimeoutMs',
  ),
  deadLetters: counter(
    'matrix.callback.dead_letters',
    '{event}',
    'Events for which a callback failed callbackAttempts times',
  ),
  decryptions: counter(
    'matrix.encryption.decryptions',
    '{event}',
    'Encrypted events for callbacks, by result: decrypted, or the reason of the failed decryption',
    { result: decryptionResults },
  ),
  keyCommits: counter(
    'matrix.encryption.commits',
    '{commit}',
    'Changes of encryption keys, by outcome (stored, failed)',
    { outcome: ['stored', 'failed'] },
  ),
  keyCommitTime: counter(
    'matrix.encryption.commit.time',
    's',
    'Time until changes of encryption keys were stored, including the wait for an earlier change of the device',
  ),
  openDevices: level('matrix.encryption.devices', '{device}', 'Devices whose keys are in memory'),
  roomKeys: counter(
    'matrix.encryption.room_keys',
    '{key}',
    'Room keys on the devices of users, by event: made, received, withheld by others, stored in a key backup (backed-up), read from a key backup (restored)',
    { event: ['made', 'received', 'withheld', 'backed-up', 'restored'] },
  ),
  keysWithheld: counter(
    'matrix.encryption.keys_withheld',
    '{device}',
    'Devices that did not get a room key of a user, by reason: counted once per session, with m.no_olm once per room',
    { reason: withheldReasons },
  ),
  keyRequests: counter(
    'matrix.encryption.key_requests',
    '{request}',
    'Missing room keys that were requested from the key backup, by result (found, missing, failed)',
    { result: ['found', 'missing', 'failed'] },
  ),
  keysToBackUp: level(
    'matrix.encryption.backup.waiting',
    '{key}',
    'Room keys of running devices that are not in the key backup yet',
  ),
  keyBackupFailures: counter(
    'matrix.encryption.backup.failures',
    '{failure}',
    'Failed attempts to store keys in a key backup, by reason: upload is retried, with gone the backup no longer exists',
    { reason: ['upload', 'gone'] },
  ),
  gaps: counter('matrix.gap.count', '{gap}', 'Gaps in timelines, by outcome: filled, or not filled completely (open)', {
    outcome: ['filled', 'open'],
  }),
  gapEvents: counter('matrix.gap.events', '{event}', 'Events fetched to fill gaps'),
  checkpointDuration: duration(
    'matrix.checkpoint.duration',
    'Time to store a position, by outcome (stored, failed)',
    SHORT,
    { outcome: ['stored', 'failed'] },
  ),
  sendDuration: duration(
    'matrix.send.duration',
    'Time from the call until the homeserver accepted a message, including the wait in the queue (sent, failed)',
    LONG,
    { outcome: ['sent', 'failed'] },
  ),
  stalledSends: level(
    'matrix.send.stalled',
    '{message}',
    'Durable sends that have been failing for a minute without an outage, and are still retried',
  ),
  givenUpSends: level(
    'matrix.send.given_up',
    '{message}',
    'Durable sends that were given up, and have not been sent again or discarded since',
  ),
  provisionDuration: duration(
    'matrix.provision.duration',
    'Time to provision a user, by outcome (created, existing, failed)',
    LONG,
    { outcome: ['created', 'existing', 'failed'] },
  ),
  requests: counter(
    'matrix.request.count',
    '{request}',
    'Requests to the homeserver, by endpoint template (also those of request(), 100 of them; other for the rest), status class (such as 2xx; none without a response) and result (ok, rate-limited, transient, unauthorised, aborted, permanent; unavailable if not sent because the homeserver is down)',
    { method: [], endpoint: [], status: [], result: [] },
  ),
  requestDuration: duration(
    'matrix.request.duration',
    'Time from sending a request until its response was read, including long polls',
    LONG,
    { method: [], endpoint: [], result: [] },
  ),
  retries: counter('matrix.request.retries', '{request}', 'Requests repeated after a failure', {
    method: ['GET'],
    endpoint: ['/_matrix/client/v3/sync'],
  }),
  breaker: gauge('matrix.breaker.state', '1', 'Whether the manager considers the homeserver up (0) or down (1)'),
  outages: counter('matrix.breaker.openings', '{outage}', 'Number of times the homeserver went down'),
  queues: level(
    'matrix.queue.length',
    '{item}',
    'Queue lengths: send, outbox, rateLimiter, starts, admin (calls limited by adminConcurrency), homeserver (clients waiting while it is down)',
    { queue: [] },
  ),
  adminPool: level('matrix.admin.pool', '{call}', 'Admin API calls, by state (running, waiting)', { state: [] }),
};

export type Instruments = typeof instruments;
