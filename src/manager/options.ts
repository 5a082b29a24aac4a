import type { ConnectionPolicy } from '../users/connection-policy.js';
import type { MeterProvider, TracerProvider } from '@opentelemetry/api';
import { assertKnownOptions, checkOptions } from '../core/validation.js';
import type { Clock } from '../core/clock.js';
import { systemClock } from '../core/clock.js';
import { MatrixClientManagerError } from '../core/errors.js';
import { assertUserId, describe, isServerName, serverNameOf } from '../core/ids.js';
import { silentLogger } from '../core/logger.js';
import type { Logger } from '../core/logger.js';
import { isObject } from '../core/raw-event.js';
import { encryptionSchema } from '../encryption/encryption-options.js';
import type { EncryptionOptions, EncryptionSettings } from '../encryption/encryption-options.js';
import { globalFetch } from '../http/fetch.js';
import { fetchTransport } from '../http/fetch-transport.js';
import type { Fetch, Transport } from '../core/ports/transport.js';
import { assertCredentialsSource } from '../provisioning/application-credentials.js';
import type { CredentialsSource } from '../provisioning/application-credentials.js';
import type { Provisioner } from '../provisioning/provisioner.js';
import { assertKnownAdmin } from '../provisioning/synapse-admin-http.js';
import type { AdminAccount } from '../provisioning/synapse-admin-http.js';
import { memoryStorage } from '../storage/memory-storage.js';
import type { RateLimit } from '../resilience/rate-limiter.js';
import type { Storage } from '../storage/storage.js';

// This file is long because it is the list of the options, with their documentation, defaults and checks.

/** The options of a {@link MatrixClientManager}. Only `homeserverUrl` is required. */
export interface MatrixClientManagerOptions {
  /** Base URL of the homeserver's client-server API, such as `https://matrix.example.org`. */
  readonly homeserverUrl: string;
  /** The server name in user ids. @default the admin's server name, else the URL's host */
  readonly serverName?: string;
  /** A server admin, with a token or a password. Needed for provisioning, `manager.admin`, and reading rooms without a `userId`. */
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
  /** Keeps credentials, sync positions, dead letters and durable sends. The manager closes it at shutdown. @default memoryStorage() */
  readonly storage?: Storage;
  /** The client of a user who is inactive for this long is stopped, in milliseconds. @default 7_200_000 (2 hours) */
  readonly idleTimeoutMs?: number;
  /** Decides from a user's activity whether their client is live, resting or stopped. @default activityPolicy({ idleTimeoutMs }) */
  readonly connectionPolicy?: ConnectionPolicy;
  /** When the process uses more heap than this, the least recently active clients are stopped, in bytes. @default Infinity */
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
  /** Largest accepted response of the homeserver, in bytes. The first sync of a large account takes megabytes. @default 268_435_456 */
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
  /** Has `debug`, `info`, `warn` and `error`, each called with `(object, message)`, such as a pino instance. @default none */
  readonly logger?: Logger;
  /** OpenTelemetry meter provider, for metrics. @default the global one at the time the manager is made */
  readonly meterProvider?: MeterProvider;
  /** OpenTelemetry tracer provider, for traces. @default the global one */
  readonly tracerProvider?: TracerProvider;
  /** Sends requests. Replace it to use a proxy or a test double. @default the global fetch, looked up at each request */
  readonly fetch?: Fetch;
  /** Sends requests instead of `fetch`, such as `undiciTransport()` of `matrix-client-manager/undici`. @default a transport on `fetch` */
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

type NumberOption = Exclude<
  { [K in keyof Settings]: Settings[K] extends number ? K : never }[keyof Settings],
  undefined
>;

const numbers: Readonly<Record<NumberOption, { readonly default: number; readonly min: number }>> = {
  idleTimeoutMs: { default: 7_200_000, min: 1 },
  sweepIntervalMs: { default: 60_000, min: 1 },
  maxHeapBytes: { default: Infinity, min: 1 },
  maxClients: { default: Infinity, min: 1 },
  startConcurrency: { default: 8, min: 1 },
  startTimeoutMs: { default: 120_000, min: 1 },
  stopTimeoutMs: { default: 10_000, min: 0 },
  timelineLimit: { default: 100, min: 1 },
  gapFillLimit: { default: 1_000, min: 0 },
  gapFillTimeoutMs: { default: 600_000, min: 0 },
  callbackAttempts: { default: 3, min: 1 },
  callbackRetryDelayMs: { default: 1_000, min: 0 },
  sendTimeoutMs: { default: 600_000, min: 1 },
  callbackTimeoutMs: { default: 300_000, min: 1 },
  adminConcurrency: { default: 4, min: 1 },
  requestTimeoutMs: { default: 30_000, min: 1 },
  pollTimeoutMs: { default: 30_000, min: 1_000 },
  maxResponseBytes: { default: 268_435_456, min: 1_024 },
  maxFileBytes: { default: 104_857_600, min: 1 },
};

const mayBeInfinite: ReadonlySet<string> = new Set([
  'maxClients',
  'maxHeapBytes',
  'idleTimeoutMs',
  'callbackTimeoutMs',
  'sendTimeoutMs',
  'gapFillTimeoutMs',
]);
const otherOptions: readonly (keyof MatrixClientManagerOptions)[] = [
  'homeserverUrl',
  'serverName',
  'admin',
  'provisioner',
  'credentials',
  'deviceName',
  'storage',
  'clock',
  'logger',
  'fetch',
  'transport',
  'connectionPolicy',
  'slidingSync',
  'encryption',
  'meterProvider',
  'tracerProvider',
  'rateLimit',
  'adminRateLimit',
];

/** Checks the caller's options and fills in the defaults. Throws `INVALID_OPTIONS`; `INVALID_USER_ID` for a bad admin user id. */
export function readOptions(options: MatrixClientManagerOptions): Settings {
  if (!isObject(options)) throw invalid('options', 'an object', options);
  assertKnownOptions('MatrixClientManager', options, [...otherOptions, ...(Object.keys(numbers) as NumberOption[])]);
  const url = readUrl(options.homeserverUrl);
  const admin = readAdmin(options.admin);
  const serverName = options.serverName ?? (admin ? serverNameOf(admin.userId) : url.host);
  if (typeof serverName !== 'string' || !isServerName(serverName)) {
    throw invalid('serverName', 'a server name like example.org', serverName);
  }
  const { provisioner, credentials } = options;
  if (provisioner !== undefined) requireMethods('provisioner', provisioner, ['ensureUser', 'openSession']);
  if (credentials !== undefined) assertCredentialsSource(credentials);
  const { deviceName } = options;
  if (deviceName !== undefined && !isNonEmptyText(deviceName))
    throw invalid('deviceName', 'a non-empty string', deviceName);
  const { connectionPolicy } = options;
  if (connectionPolicy !== undefined) requireMethods('connectionPolicy', connectionPolicy, ['decide']);
  const { meterProvider, tracerProvider } = options;
  if (meterProvider !== undefined) requireMethods('meterProvider', meterProvider, ['getMeter']);
  if (tracerProvider !== undefined) requireMethods('tracerProvider', tracerProvider, ['getTracer']);
  const storage = options.storage ?? memoryStorage();
  requireMethods('storage', storage, ['getCredentials', 'loadCheckpoint', 'commit', 'close']);
  const clock = options.clock ?? systemClock;
  requireMethods('clock', clock, ['now', 'setTimeout', 'clearTimeout']);
  const logger = options.logger ?? silentLogger;
  requireMethods('logger', logger, ['debug', 'info', 'warn', 'error']);
  const transport = readTransport(options);
  return {
    homeserverUrl: url.href.replace(/\/+$/, ''),
    serverName,
    ...(admin && { admin }),
    ...(connectionPolicy && { connectionPolicy }),
    ...(provisioner && { provisioner }),
    ...(credentials && { credentials }),
    ...(deviceName !== undefined && { deviceName }),
    ...(meterProvider && { meterProvider }),
    ...(tracerProvider && { tracerProvider }),
    ...(options.encryption !== undefined && {
      encryption: checkOptions('MatrixClientManager', encryptionSchema, options.encryption),
    }),
    ...readRateLimit('rateLimit', options.rateLimit),
    ...readRateLimit('adminRateLimit', options.adminRateLimit),
    storage,
    clock,
    logger,
    transport,
    slidingSync: readBoolean('slidingSync', options.slidingSync, true),
    ...readNumbers(options),
  };
}

function readNumbers(options: MatrixClientManagerOptions): Record<NumberOption, number> {
  const checked = Object.entries(numbers).map(([name, { default: fallback, min }]) => {
    const value = options[name as NumberOption] ?? fallback;
    const isWhole = Number.isSafeInteger(value) || (value === Infinity && mayBeInfinite.has(name));
    if (!isWhole || value < min) throw invalid(name, `a whole number of at least ${min}`, value);
    return [name, value];
  });
  return Object.fromEntries(checked) as Record<NumberOption, number>;
}

function readBoolean(name: string, value: boolean | undefined, fallback: boolean): boolean {
  if (value === undefined || typeof value === 'boolean') return value ?? fallback;
  throw invalid(name, 'true or false', value);
}

function readTransport({ fetch, transport }: MatrixClientManagerOptions): Transport {
  if (fetch !== undefined) requireFunction('fetch', fetch);
  if (transport === undefined) return fetchTransport(fetch ?? globalFetch);
  requireMethods('transport', transport, ['open']);
  if (fetch === undefined) return transport;
  throw new MatrixClientManagerError('INVALID_OPTIONS', 'expected `fetch` or `transport`, got both');
}

function readRateLimit<Name extends string>(name: Name, limit: RateLimit | undefined): { [K in Name]?: RateLimit } {
  if (limit === undefined) return {};
  if (!isObject(limit)) throw invalid(name, 'an object with perSecond', limit);
  assertKnownOptions(`\`${name}\``, limit, ['perSecond', 'burst']);
  for (const part of ['perSecond', 'burst'] as const) {
    const value = limit[part];
    const isPositive = typeof value === 'number' && Number.isFinite(value) && value > 0;
    if (!isPositive && !(part === 'burst' && value === undefined))
      throw invalid(`${name}.${part}`, 'a number above 0', value);
  }
  return { [name]: limit } as unknown as { [K in Name]?: RateLimit };
}

function readUrl(value: unknown): URL {
  const url = typeof value === 'string' && URL.canParse(value) ? new URL(value) : undefined;
  const isPlain = url && !url.username && !url.password && !url.search && !url.hash;
  if (isPlain && (url.protocol === 'https:' || url.protocol === 'http:')) return url;
  // The error does not print a string, because the URL may contain a password.
  throw invalid(
    'homeserverUrl',
    'an http or https URL without user, query and fragment',
    ...(typeof value === 'string' ? [] : [value]),
  );
}

function readAdmin(admin: AdminAccount | undefined): AdminAccount | undefined {
  if (admin === undefined) return undefined;
  if (!isObject(admin)) throw invalid('admin', 'an object', admin);
  assertKnownAdmin(admin);
  assertUserId(admin.userId);
  const { accessToken, password } = admin;
  if (accessToken !== undefined && !isNonEmptyText(accessToken))
    throw invalid('admin.accessToken', 'a non-empty string of valid Unicode');
  if (password !== undefined && !isNonEmptyText(password))
    throw invalid('admin.password', 'a non-empty string of valid Unicode');
  if (accessToken === undefined && password === undefined) {
    throw new MatrixClientManagerError('INVALID_OPTIONS', 'expected `admin` to have an accessToken or a password');
  }
  return admin;
}

function isNonEmptyText(value: unknown): boolean {
  return typeof value === 'string' && value !== '' && value.isWellFormed();
}

function requireMethods(name: string, value: unknown, methods: readonly string[]): void {
  const missing = methods.find((method) => typeof (value as Record<string, unknown> | null)?.[method] !== 'function');
  if (missing !== undefined) throw invalid(name, `an object with a method ${missing}()`, value);
}

function requireFunction(name: string, value: unknown): void {
  if (typeof value !== 'function') throw invalid(name, 'a function', value);
}

function invalid(name: string, expected: string, ...got: unknown[]): MatrixClientManagerError {
  const value = got.length === 0 ? '' : `, got ${typeof got[0] === 'number' ? got[0] : describe(got[0])}`;
  return new MatrixClientManagerError('INVALID_OPTIONS', `expected \`${name}\` to be ${expected}${value}`);
}
