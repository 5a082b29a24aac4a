/** What a metric is to OpenTelemetry. `gauge` and `level` are read when somebody collects; levels can be added up. */
export type InstrumentKind = 'counter' | 'duration' | 'gauge' | 'level';

export interface InstrumentDescription {
  readonly name: string;
  readonly kind: InstrumentKind;
  /** As UCUM has it; in braces what is counted. Durations are in seconds, by the manager's clock. */
  readonly unit: string;
  readonly description: string;
  /** Its labels besides `server.address`. Each has a bounded set of values, none of them an id. */
  readonly labels: readonly string[];
  /** Upper bounds of a duration's buckets, in seconds. */
  readonly buckets?: readonly number[];
}

/** From what a callback or a storage takes up to a request's time limit. */
const SHORT = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
/** Starts, syncs and sends through an outage: up to minutes. */
const LONG = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];

/** Every metric of the library. This file is long because they are all here: the documentation is checked against it. */
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
    description: 'Live clients that poll seldom, because their users are not active',
    labels: [],
  },
  stalledRooms: {
    name: 'matrix.room.stalled',
    kind: 'level',
    unit: '{room}',
    description: 'Rooms of all clients with missing events that the homeserver fails to tell',
    labels: [],
  },
  incompleteClients: {
    name: 'matrix.client.incomplete',
    kind: 'level',
    unit: '{client}',
    description: 'Clients that lack rooms or missed events that the homeserver fails to tell',
    labels: [],
  },
  leases: {
    name: 'matrix.client.leases',
    kind: 'level',
    unit: '{lease}',
    description: 'Calls that hold a client',
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
    description: 'Starts of clients, by how they ended (live, failed), and whether from a stored position',
    labels: ['outcome', 'resumed'],
  },
  startDuration: {
    name: 'matrix.client.start.duration',
    kind: 'duration',
    unit: 's',
    description: 'Time from the call until a client was live, the wait for its turn included',
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
      'Time until a sync was answered, the homeserver waiting for events included; kind is initial, catch-up (the first one after a pause) or live',
    labels: ['kind'],
    buckets: LONG,
  },
  syncProcessing: {
    name: 'matrix.sync.processing.duration',
    kind: 'duration',
    unit: 's',
    description: 'Time from the answer of a sync until its events were handed to the callbacks',
    labels: ['kind'],
    buckets: SHORT,
  },
  syncLag: {
    name: 'matrix.sync.lag',
    kind: 'gauge',
    unit: 's',
    description:
      'The longest time since a sync of a client that does not rest was answered; up to the poll timeout is normal',
    labels: [],
  },
  malformedParts: {
    name: 'matrix.answer.malformed_parts',
    kind: 'counter',
    unit: '{part}',
    description: 'Parts of answers that are not what the specification promises and were left out',
    labels: [],
  },
  events: {
    name: 'matrix.event.count',
    kind: 'counter',
    unit: '{event}',
    description: 'Events handed to the callbacks, by kind and by how they came',
    labels: ['type', 'provenance'],
  },
  callbacks: {
    name: 'matrix.callback.count',
    kind: 'counter',
    unit: '{call}',
    description: 'Calls of callbacks, handled or failed',
    labels: ['outcome'],
  },
  callbackDuration: {
    name: 'matrix.callback.duration',
    kind: 'duration',
    unit: 's',
    description: 'Time that a callback took',
    labels: ['outcome'],
    buckets: SHORT,
  },
  overdueCallbacks: {
    name: 'matrix.callback.overdue',
    kind: 'level',
    unit: '{call}',
    description: 'Calls of callbacks that have run for longer than callbackTimeoutMs, and still run',
    labels: [],
  },
  deadLetters: {
    name: 'matrix.callback.dead_letters',
    kind: 'counter',
    unit: '{event}',
    description: 'Events that a callback failed on as often as it may',
    labels: [],
  },
  decryptions: {
    name: 'matrix.encryption.decryptions',
    kind: 'counter',
    unit: '{event}',
    description: 'Encrypted events that were decrypted for callbacks, or why they could not be',
    labels: ['result'],
  },
  keyCommits: {
    name: 'matrix.encryption.commits',
    kind: 'counter',
    unit: '{commit}',
    description: 'Changes of keys that were stored, or could not be',
    labels: ['outcome'],
  },
  keyCommitTime: {
    name: 'matrix.encryption.commit.time',
    kind: 'counter',
    unit: 's',
    description: 'Time that storing keys has taken, in which nothing else ran',
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
      'Room keys that devices have made, received, been refused (withheld), stored in a key backup (backed-up) and read from there (restored)',
    labels: ['event'],
  },
  keyRequests: {
    name: 'matrix.encryption.key_requests',
    kind: 'counter',
    unit: '{request}',
    description: 'Keys that an event lacked and that were looked for in the key backup (found, missing, failed)',
    labels: ['result'],
  },
  keysToBackUp: {
    name: 'matrix.encryption.backup.waiting',
    kind: 'level',
    unit: '{key}',
    description: 'Keys of running devices that wait to be stored in a key backup',
    labels: [],
  },
  keyBackupFailures: {
    name: 'matrix.encryption.backup.failures',
    kind: 'counter',
    unit: '{failure}',
    description:
      'Attempts to store keys in a key backup that failed: upload is tried again, with gone the backup is no more',
    labels: ['reason'],
  },
  gaps: {
    name: 'matrix.gap.count',
    kind: 'counter',
    unit: '{gap}',
    description: 'Gaps in timelines, by whether they were filled or left open',
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
    description: 'Time that the storage took to store a position (stored, failed)',
    labels: ['outcome'],
    buckets: SHORT,
  },
  sendDuration: {
    name: 'matrix.send.duration',
    kind: 'duration',
    unit: 's',
    description: 'Time from the call until the homeserver had a message, the wait for its turn included (sent, failed)',
    labels: ['outcome'],
    buckets: LONG,
  },
  stalledSends: {
    name: 'matrix.send.stalled',
    kind: 'level',
    unit: '{message}',
    description: 'Durable sends that could not be sent for a minute, without an outage, and are still tried',
    labels: [],
  },
  givenUpSends: {
    name: 'matrix.send.given_up',
    kind: 'level',
    unit: '{message}',
    description: 'Durable sends that were given up, and neither sent again nor discarded since',
    labels: [],
  },
  provisionDuration: {
    name: 'matrix.provision.duration',
    kind: 'duration',
    unit: 's',
    description: 'Time that provisioning a user took (created, existing, failed)',
    labels: ['outcome'],
    buckets: LONG,
  },
  requests: {
    name: 'matrix.request.count',
    kind: 'counter',
    unit: '{request}',
    description:
      'Requests to the homeserver, by endpoint template (other for unknown ones), class of status (2xx and so on; none) and result (ok, rate-limited, transient, unavailable: not sent, since the homeserver is down, unauthorised, aborted, permanent)',
    labels: ['method', 'endpoint', 'status', 'result'],
  },
  requestDuration: {
    name: 'matrix.request.duration',
    kind: 'duration',
    unit: 's',
    description: 'Time from sending a request until its answer was read; long polls included',
    labels: ['method', 'endpoint', 'result'],
    buckets: LONG,
  },
  retries: {
    name: 'matrix.request.retries',
    kind: 'counter',
    unit: '{request}',
    description: 'Requests made once more after a failure',
    labels: ['method', 'endpoint'],
  },
  breaker: {
    name: 'matrix.breaker.state',
    kind: 'gauge',
    unit: '1',
    description: 'Whether the homeserver counts as up (0) or down (1)',
    labels: [],
  },
  outages: {
    name: 'matrix.breaker.openings',
    kind: 'counter',
    unit: '{outage}',
    description: 'How often the homeserver went down',
    labels: [],
  },
  queues: {
    name: 'matrix.queue.length',
    kind: 'level',
    unit: '{item}',
    description:
      'What waits: send, outbox, rateLimiter, starts, admin (for a place), homeserver (clients, while it is down)',
    labels: ['queue'],
  },
  adminPool: {
    name: 'matrix.admin.pool',
    kind: 'level',
    unit: '{call}',
    description: 'Admin calls, running or waiting for a place',
    labels: ['state'],
  },
} as const satisfies Record<string, InstrumentDescription>;
