/** Kind of OpenTelemetry instrument. `gauge` and `level` are read at collection; a `level` can be summed across processes. */
export type InstrumentKind = 'counter' | 'duration' | 'gauge' | 'level';

export interface InstrumentDescription {
  readonly name: string;
  readonly kind: InstrumentKind;
  /** UCUM unit; the counted things are in braces. Durations are in seconds, by the manager's clock. */
  readonly unit: string;
  readonly description: string;
  /** Labels besides `server.address`. Each has a bounded set of values, and no value is an id. */
  readonly labels: readonly string[];
  /** Upper bounds of a duration's buckets, in seconds. */
  readonly buckets?: readonly number[];
}

/** Callbacks and storage calls: up to the time-out of a request. */
const SHORT = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
/** Starts, syncs and sends, which can take minutes during an outage. */
const LONG = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];

/** All metrics of the library. This file is long because a test checks the documentation against this single list. */
export const instruments = {
  clients: {
    name: 'matrix.client.count',
    kind: 'level',
    unit: '{client}',
    description: 'Clients by state',
    labels: ['state'],
  },
  resting: {
    name: 'matrix.client.resting',
    kind: 'level',
    unit: '{client}',
    description: 'Live clients that rest: they poll seldom, because their users are inactive',
    labels: [],
  },
  stalledRooms: {
    name: 'matrix.room.stalled',
    kind: 'level',
    unit: '{room}',
    description: 'Rooms, in all clients, with missing events that the homeserver fails to return',
    labels: [],
  },
  incompleteClients: {
    name: 'matrix.client.incomplete',
    kind: 'level',
    unit: '{client}',
    description: 'Clients with missing rooms or missed events that the homeserver fails to return',
    labels: [],
  },
  leases: {
    name: 'matrix.client.leases',
    kind: 'level',
    unit: '{lease}',
    description: 'Running calls that keep a client from being stopped as idle or evicted',
    labels: [],
  },
  openConnections: {
    name: 'matrix.client.connections',
    kind: 'level',
    unit: '{connection}',
    description: 'Connections opened by connect() and not closed yet',
    labels: [],
  },
  starts: {
    name: 'matrix.client.starts',
    kind: 'counter',
    unit: '{start}',
    description: 'Starts of clients, by outcome (live, failed) and by whether they used a stored position (resumed)',
    labels: ['outcome', 'resumed'],
  },
  startDuration: {
    name: 'matrix.client.start.duration',
    kind: 'duration',
    unit: 's',
    description: 'Time from the call until a client was live, including the wait in the start queue',
    labels: ['resumed'],
    buckets: LONG,
  },
  stops: {
    name: 'matrix.client.stops',
    kind: 'counter',
    unit: '{stop}',
    description: 'Stops of clients that were live, by reason',
    labels: ['reason'],
  },
  syncDuration: {
    name: 'matrix.sync.duration',
    kind: 'duration',
    unit: 's',
    description:
      'Time until a sync response, including the wait of the homeserver for new events; kind is initial, catch-up (the first sync after a pause) or live',
    labels: ['kind'],
    buckets: LONG,
  },
  syncProcessing: {
    name: 'matrix.sync.processing.duration',
    kind: 'duration',
    unit: 's',
    description: 'Time from a sync response until its events were handed to the callbacks',
    labels: ['kind'],
    buckets: SHORT,
  },
  syncLag: {
    name: 'matrix.sync.lag',
    kind: 'gauge',
    unit: 's',
    description:
      'Longest time since the last sync response among clients that do not rest; up to the poll timeout is normal',
    labels: [],
  },
  malformedParts: {
    name: 'matrix.answer.malformed_parts',
    kind: 'counter',
    unit: '{part}',
    description: 'Parts of responses that violate the specification and were left out',
    labels: [],
  },
  events: {
    name: 'matrix.event.count',
    kind: 'counter',
    unit: '{event}',
    description: 'Events handed to the callbacks, by type and provenance',
    labels: ['type', 'provenance'],
  },
  callbacks: {
    name: 'matrix.callback.count',
    kind: 'counter',
    unit: '{call}',
    description: 'Callback calls, by outcome (handled, failed)',
    labels: ['outcome'],
  },
  callbackDuration: {
    name: 'matrix.callback.duration',
    kind: 'duration',
    unit: 's',
    description: 'Duration of a callback call',
    labels: ['outcome'],
    buckets: SHORT,
  },
  overdueCallbacks: {
    name: 'matrix.callback.overdue',
    kind: 'level',
    unit: '{call}',
    description: 'Callback calls that are still running after callbackTimeoutMs',
    labels: [],
  },
  deadLetters: {
    name: 'matrix.callback.dead_letters',
    kind: 'counter',
    unit: '{event}',
    description: 'Events for which a callback failed callbackAttempts times',
    labels: [],
  },
  decryptions: {
    name: 'matrix.encryption.decryptions',
    kind: 'counter',
    unit: '{event}',
    description: 'Encrypted events for callbacks, by result: decrypted, or the reason of the failed decryption',
    labels: ['result'],
  },
  keyCommits: {
    name: 'matrix.encryption.commits',
    kind: 'counter',
    unit: '{commit}',
    description: 'Changes of encryption keys, by outcome (stored, failed)',
    labels: ['outcome'],
  },
  keyCommitTime: {
    name: 'matrix.encryption.commit.time',
    kind: 'counter',
    unit: 's',
    description: 'Time spent storing keys, during which the event loop was blocked',
    labels: [],
  },
  openDevices: {
    name: 'matrix.encryption.devices',
    kind: 'level',
    unit: '{device}',
    description: 'Devices whose keys are in memory',
    labels: [],
  },
  roomKeys: {
    name: 'matrix.encryption.room_keys',
    kind: 'counter',
    unit: '{key}',
    description:
      'Room keys on the devices of users, by event: made, received, withheld, stored in a key backup (backed-up), read from a key backup (restored)',
    labels: ['event'],
  },
  keyRequests: {
    name: 'matrix.encryption.key_requests',
    kind: 'counter',
    unit: '{request}',
    description: 'Missing room keys that were requested from the key backup, by result (found, missing, failed)',
    labels: ['result'],
  },
  keysToBackUp: {
    name: 'matrix.encryption.backup.waiting',
    kind: 'level',
    unit: '{key}',
    description: 'Room keys of running devices that are not in the key backup yet',
    labels: [],
  },
  keyBackupFailures: {
    name: 'matrix.encryption.backup.failures',
    kind: 'counter',
    unit: '{failure}',
    description:
      'Failed attempts to store keys in a key backup, by reason: upload is retried, with gone the backup no longer exists',
    labels: ['reason'],
  },
  gaps: {
    name: 'matrix.gap.count',
    kind: 'counter',
    unit: '{gap}',
    description: 'Gaps in timelines, by outcome: filled, or not filled completely (open)',
    labels: ['outcome'],
  },
  gapEvents: {
    name: 'matrix.gap.events',
    kind: 'counter',
    unit: '{event}',
    description: 'Events fetched to fill gaps',
    labels: [],
  },
  checkpointDuration: {
    name: 'matrix.checkpoint.duration',
    kind: 'duration',
    unit: 's',
    description: 'Time to store a position, by outcome (stored, failed)',
    labels: ['outcome'],
    buckets: SHORT,
  },
  sendDuration: {
    name: 'matrix.send.duration',
    kind: 'duration',
    unit: 's',
    description:
      'Time from the call until the homeserver accepted a message, including the wait in the queue (sent, failed)',
    labels: ['outcome'],
    buckets: LONG,
  },
  stalledSends: {
    name: 'matrix.send.stalled',
    kind: 'level',
    unit: '{message}',
    description: 'Durable sends that have been failing for a minute without an outage, and are still retried',
    labels: [],
  },
  givenUpSends: {
    name: 'matrix.send.given_up',
    kind: 'level',
    unit: '{message}',
    description: 'Durable sends that were given up, and have not been sent again or discarded since',
    labels: [],
  },
  provisionDuration: {
    name: 'matrix.provision.duration',
    kind: 'duration',
    unit: 's',
    description: 'Time to provision a user, by outcome (created, existing, failed)',
    labels: ['outcome'],
    buckets: LONG,
  },
  requests: {
    name: 'matrix.request.count',
    kind: 'counter',
    unit: '{request}',
    description:
      'Requests to the homeserver, by endpoint template (other for unknown ones), status class (such as 2xx; none without a response) and result (ok, rate-limited, transient, unauthorised, aborted, permanent; unavailable if not sent because the homeserver is down)',
    labels: ['method', 'endpoint', 'status', 'result'],
  },
  requestDuration: {
    name: 'matrix.request.duration',
    kind: 'duration',
    unit: 's',
    description: 'Time from sending a request until its response was read, including long polls',
    labels: ['method', 'endpoint', 'result'],
    buckets: LONG,
  },
  retries: {
    name: 'matrix.request.retries',
    kind: 'counter',
    unit: '{request}',
    description: 'Requests repeated after a failure',
    labels: ['method', 'endpoint'],
  },
  breaker: {
    name: 'matrix.breaker.state',
    kind: 'gauge',
    unit: '1',
    description: 'Whether the manager considers the homeserver up (0) or down (1)',
    labels: [],
  },
  outages: {
    name: 'matrix.breaker.openings',
    kind: 'counter',
    unit: '{outage}',
    description: 'Number of times the homeserver went down',
    labels: [],
  },
  queues: {
    name: 'matrix.queue.length',
    kind: 'level',
    unit: '{item}',
    description:
      'Queue lengths: send, outbox, rateLimiter, starts, admin (calls limited by adminConcurrency), homeserver (clients waiting while it is down)',
    labels: ['queue'],
  },
  adminPool: {
    name: 'matrix.admin.pool',
    kind: 'level',
    unit: '{call}',
    description: 'Admin API calls, by state (running, waiting)',
    labels: ['state'],
  },
} as const satisfies Record<string, InstrumentDescription>;
