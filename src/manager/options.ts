import type { MeterProvider, TracerProvider } from '@opentelemetry/api';
import * as v from 'valibot';
import { managerCallbackList } from '../callbacks/callback.js';
import type { ManagerCallback } from '../callbacks/callback.js';
import type { Clock } from '../core/clock.js';
import { systemClock } from '../core/clock.js';
import { invalidOptions } from '../core/errors.js';
import { isServerName, serverNameOf } from '../core/ids.js';
import { silentLogger } from '../core/logger.js';
import type { Logger } from '../core/logger.js';
import type { Fetch, Transport } from '../core/ports/transport.js';
import {
  checkArgument,
  checkedAs,
  checkOptions,
  clock,
  flag,
  functionOf,
  logger,
  name,
  optionsOf,
  shown,
  unchecked,
  wholeNumber,
  wholeNumberOrInfinity,
  withMethods,
} from '../core/validation.js';
import { encryptionSchema } from '../encryption/encryption-options.js';
import type { EncryptionOptions, EncryptionSettings } from '../encryption/encryption-options.js';
import { fetchTransport, globalFetch } from '../http/fetch-transport.js';
import { homeserverUrlSchema, MAX_RESPONSE_BYTES } from '../http/homeserver-http.js';
import { credentialsSchema } from '../provisioning/application-credentials.js';
import type { CredentialsSource } from '../provisioning/application-credentials.js';
import type { Provisioner } from '../provisioning/provisioner.js';
import { adminSchema } from '../provisioning/own-admin.js';
import type { AdminAccount } from '../provisioning/own-admin.js';
import { rateLimitSchema } from '../resilience/rate-limiter.js';
import type { RateLimit } from '../resilience/rate-limiter.js';
import { memoryStorage } from '../storage/memory-storage.js';
import type { Storage } from '../storage/storage.js';
import type { ConnectionPolicy } from '../users/connection-policy.js';

// This file is long because it is the list of the options, with their documentation, defaults and checks.

/** The options of a {@link MatrixClientManager}. Only `homeserverUrl` is required. */
export interface MatrixClientManagerOptions {
  /** Base URL of the homeserver's client-server API, such as `https://matrix.example.org`. */
  readonly homeserverUrl: string;
  /** The server name in user ids. @default the admin's server name, else the URL's host */
  readonly serverName?: string;
  /**
   * A server admin, with a token or a password. Needed for provisioning, `manager.admin`, and reading rooms without a
   * `userId`.
   */
  readonly admin?: AdminAccount;
  /** Makes accounts and sessions. @default a SynapseAdminProvisioner with `admin` */
  readonly provisioner?: Provisioner;
  /**
   * The application's own store of credentials, `{ get, set, delete }`. `get` is called when `storage` has no
   * credentials and when a token is no longer valid; `set` gets new credentials before they are used. A function
   * `(userId) => credentials` is read-only: new credentials are not stored in it.
   */
  readonly credentials?: CredentialsSource;
  /** Display name of new devices; other users see it. @default 'matrix-client-manager' */
  readonly deviceName?: string;
  /**
   * Keeps credentials, sync positions, dead letters and durable sends. The manager closes it at shutdown.
   * @default memoryStorage()
   */
  readonly storage?: Storage;
  /**
   * Callbacks for the events of all users, as `onEvent` registers them: functions, or objects with `callback`, `types`,
   * `rooms`, `users`, `backlog` and `once`. They are registered before any client starts. @default none
   */
  readonly callbacks?: readonly ManagerCallback[];
  /** The client of a user who is inactive for this long is stopped, in milliseconds. @default 7_200_000 (2 hours) */
  readonly idleTimeoutMs?: number;
  /**
   * Decides from a user's activity whether their client is live, resting or stopped.
   * @default activityPolicy({ idleTimeoutMs })
   */
  readonly connectionPolicy?: ConnectionPolicy;
  /**
   * When the process uses more heap than this, the least recently active clients are stopped, in bytes.
   * @default Infinity
   */
  readonly maxHeapBytes?: number;
  /** How often the manager checks which clients must rest, stop or start, in milliseconds. @default 60_000 */
  readonly sweepIntervalMs?: number;
  /** How many clients may run at once. To start another, the least recently active one is stopped. @default Infinity */
  readonly maxClients?: number;
  /** How many clients may be starting at once. @default 8 */
  readonly startConcurrency?: number;
  /**
   * How long a start may take after it leaves the start queue, in milliseconds. The time includes `credentials`,
   * `storage`, the homeserver and the first sync. @default 120_000
   */
  readonly startTimeoutMs?: number;
  /** How long a stop waits for callbacks that are still running, in milliseconds. @default 10_000 */
  readonly stopTimeoutMs?: number;
  /** Events kept in memory per room and client. @default 100 */
  readonly timelineLimit?: number;
  /** How many events are fetched at most to fill a gap in a room. A `gap` event reports a larger gap. @default 1_000 */
  readonly gapFillLimit?: number;
  /**
   * How long the manager tries to fill a gap in a room while the homeserver answers other requests, in milliseconds.
   * Then a `gap` event reports the gap, and newer events of the room are delivered. Infinity: no limit.
   * @default 600_000 (10 minutes)
   */
  readonly gapFillTimeoutMs?: number;
  /** How many times a failing callback is called with an event before the event becomes a dead letter. @default 3 */
  readonly callbackAttempts?: number;
  /** Delay before a callback's second attempt, in milliseconds; it doubles with each further attempt. @default 1_000 */
  readonly callbackRetryDelayMs?: number;
  /**
   * How long a durable send may fail while the homeserver answers other requests, in milliseconds. Then it is listed as
   * failed, and the room's next send starts. Outages do not count, nor do rate limits while other messages of the user
   * are accepted. Infinity: no limit. @default 600_000 (10 minutes)
   */
  readonly sendTimeoutMs?: number;
  /**
   * How long one call of a callback may take, in milliseconds. Then its `signal` is aborted, the attempt counts as
   * failed, and delivery in the room continues, although the call may still run. Infinity: no limit.
   * @default 300_000 (5 minutes)
   */
  readonly callbackTimeoutMs?: number;
  /** How many Admin API calls may run at once. @default 4 */
  readonly adminConcurrency?: number;
  /** Time-out of one request, in milliseconds. A sync request may take `pollTimeoutMs` longer. @default 30_000 */
  readonly requestTimeoutMs?: number;
  /** How long the homeserver may hold a sync request while there are no new events, in milliseconds. @default 30_000 */
  readonly pollTimeoutMs?: number;
  /**
   * Largest accepted response of the homeserver, in bytes. The first sync of a large account takes megabytes.
   * @default 268_435_456
   */
  readonly maxResponseBytes?: number;
  /** Largest file that may be sent or downloaded, in bytes. @default 104_857_600 (100 MiB) */
  readonly maxFileBytes?: number;
  /** Rate limit for all requests to the homeserver. @default no limit */
  readonly rateLimit?: RateLimit;
  /** Additional rate limit for Admin API calls. @default no limit */
  readonly adminRateLimit?: RateLimit;
  /**
   * Whether clients start with the most recently active rooms and load the others while they are already live. This
   * needs a homeserver with simplified sliding sync (MSC4186). No event is missed with either value. @default true
   */
  readonly slidingSync?: boolean;
  /**
   * End-to-end encryption for the users' clients: `{ path, secret }` of the file with their keys. Only one process at a
   * time may use the file. @default none: sends to encrypted rooms are refused
   */
  readonly encryption?: EncryptionOptions;
  /** Source of the current time and of all timers. @default systemClock */
  readonly clock?: Clock;
  /**
   * Has `debug`, `info`, `warn` and `error`, each called with `(object, message)`, such as a pino instance.
   * @default none
   */
  readonly logger?: Logger;
  /** OpenTelemetry meter provider, for metrics. @default the global one at the time the manager is made */
  readonly meterProvider?: MeterProvider;
  /** OpenTelemetry tracer provider, for traces. @default the global one */
  readonly tracerProvider?: TracerProvider;
  /**
   * Sends requests. Replace it to use a proxy or a test double.
   * @default the global fetch, looked up at each request
   */
  readonly fetch?: Fetch;
  /**
   * Sends requests instead of `fetch`, such as `undiciTransport()` of `matrix-client-manager/undici`.
   * @default a transport on `fetch`
   */
  readonly transport?: Transport;
}

/** The checked options, with the defaults filled in. */
export type Settings = Required<Omit<MatrixClientManagerOptions, OptionalSetting | 'fetch' | 'encryption'>> &
  Pick<MatrixClientManagerOptions, OptionalSetting> & { readonly encryption?: EncryptionSettings };

type OptionalSetting =
  | 'connectionPolicy'
  | 'admin'
  | 'provisioner'
  | 'credentials'
  | 'deviceName'
  | 'rateLimit'
  | 'adminRateLimit'
  | 'meterProvider'
  | 'tracerProvider';

type CheckedOptions = Omit<Settings, 'serverName' | 'transport'> &
  Pick<MatrixClientManagerOptions, 'serverName' | 'transport' | 'fetch'>;

const serverNameSchema = checkedAs<string>(
  'a server name like example.org',
  (name) => typeof name === 'string' && isServerName(name),
  shown,
);

/** `null` counts as absent where there is a default, because databases return it for missing values. */
const optionsSchema = optionsOf<CheckedOptions>({
  homeserverUrl: homeserverUrlSchema,
  serverName: unchecked(), // checked with its default
  admin: v.optional(adminSchema),
  provisioner: v.optional(withMethods<Provisioner>('ensureUser', 'openSession')),
  credentials: v.optional(credentialsSchema),
  deviceName: v.optional(name),
  storage: v.nullish(withMethods<Storage>('getCredentials', 'loadCheckpoint', 'commit', 'close'), () =>
    memoryStorage(),
  ),
  callbacks: v.nullish(managerCallbackList, () => []),
  idleTimeoutMs: v.nullish(wholeNumberOrInfinity(1), 7_200_000),
  connectionPolicy: v.optional(withMethods<ConnectionPolicy>('decide')),
  maxHeapBytes: v.nullish(wholeNumberOrInfinity(1), Infinity),
  sweepIntervalMs: v.nullish(wholeNumber(1), 60_000),
  maxClients: v.nullish(wholeNumberOrInfinity(1), Infinity),
  startConcurrency: v.nullish(wholeNumber(1), 8),
  startTimeoutMs: v.nullish(wholeNumber(1), 120_000),
  stopTimeoutMs: v.nullish(wholeNumber(0), 10_000),
  timelineLimit: v.nullish(wholeNumber(1), 100),
  gapFillLimit: v.nullish(wholeNumber(0), 1_000),
  gapFillTimeoutMs: v.nullish(wholeNumberOrInfinity(0), 600_000),
  callbackAttempts: v.nullish(wholeNumber(1), 3),
  callbackRetryDelayMs: v.nullish(wholeNumber(0), 1_000),
  sendTimeoutMs: v.nullish(wholeNumberOrInfinity(1), 600_000),
  callbackTimeoutMs: v.nullish(wholeNumberOrInfinity(1), 300_000),
  adminConcurrency: v.nullish(wholeNumber(1), 4),
  requestTimeoutMs: v.nullish(wholeNumber(1), 30_000),
  pollTimeoutMs: v.nullish(wholeNumber(1_000), 30_000),
  maxResponseBytes: v.nullish(wholeNumber(1_024), MAX_RESPONSE_BYTES),
  maxFileBytes: v.nullish(wholeNumber(1), 104_857_600),
  rateLimit: v.optional(rateLimitSchema),
  adminRateLimit: v.optional(rateLimitSchema),
  slidingSync: v.optional(flag, true),
  encryption: v.optional(encryptionSchema),
  clock: v.nullish(clock, systemClock),
  logger: v.nullish(logger, silentLogger),
  meterProvider: v.optional(withMethods<MeterProvider>('getMeter')),
  tracerProvider: v.optional(withMethods<TracerProvider>('getTracer')),
  fetch: v.optional(functionOf<Fetch>()),
  transport: v.optional(withMethods<Transport>('open')),
});

/**
 * Checks the caller's options and fills in the defaults. Throws `INVALID_OPTIONS`; `INVALID_USER_ID` for a bad admin
 * user id.
 */
export function readOptions(options: MatrixClientManagerOptions): Settings {
  const { fetch, transport, serverName, ...checked } = checkOptions('MatrixClientManager', optionsSchema, options);
  if (fetch && transport) throw invalidOptions('expected `fetch` or `transport`, got both');
  const { admin, homeserverUrl } = checked;
  const ownServerName = serverName ?? (admin ? serverNameOf(admin.userId) : new URL(homeserverUrl).host);
  return {
    ...checked,
    serverName: checkArgument('serverName', serverNameSchema, ownServerName),
    transport: transport ?? fetchTransport(fetch ?? globalFetch),
  };
}
