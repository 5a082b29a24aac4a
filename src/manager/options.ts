import type { ConnectionPolicy } from '../users/connection-policy.js';
import type { MeterProvider, TracerProvider } from '@opentelemetry/api';
import { assertKnownOptions } from '../core/call-options.js';
import type { Clock } from '../core/clock.js';
import { systemClock } from '../core/clock.js';
import { MatrixClientManagerError } from '../core/errors.js';
import { assertUserId, describe, isServerName, serverNameOf } from '../core/ids.js';
import { silentLogger } from '../core/logger.js';
import type { Logger } from '../core/logger.js';
import { isObject } from '../core/raw-event.js';
import { readEncryptionOptions } from '../encryption/encryption-options.js';
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
  /** Where the homeserver's client API answers, such as `https://matrix.example.org`. */
  readonly homeserverUrl: string;
  /** The server's name in user ids. @default the admin's server name, else the URL's host */
  readonly serverName?: string;
  /** A server admin, by token or password: for provisioning, `manager.admin`, and reading rooms without a `userId`. */
  readonly admin?: AdminAccount;
  /** What makes accounts and sessions. @default a SynapseAdminProvisioner with `admin` */
  readonly provisioner?: Provisioner;
  /**
   * The application's own store of credentials, `{ get, set, delete }`: asked when `storage` has none and when a token
   * has died, and given what is new before it is used. A function `(userId) => credentials` alone is asked only.
   */
  readonly credentials?: CredentialsSource;
  /** The name of new devices, as other users see it. @default 'matrix-client-manager' */
  readonly deviceName?: string;
  /** Where credentials and positions are kept. The manager closes it at shutdown. @default memoryStorage() */
  readonly storage?: Storage;
  /** How long a user may do nothing before their client is stopped, in milliseconds. @default 7_200_000 (2 hours) */
  readonly idleTimeoutMs?: number;
  /** Decides from a user's activity whether their client is live, rests or is stopped. @default activityPolicy({ idleTimeoutMs }) */
  readonly connectionPolicy?: ConnectionPolicy;
  /** Above this heap use of the process, the least recently active clients are stopped, in bytes. @default Infinity */
  readonly maxHeapBytes?: number;
  /** How often clients are checked for those to rest, stop or start, in milliseconds. @default 60_000 */
  readonly sweepIntervalMs?: number;
  /** How many clients may run at once; the least recently active one is stopped for the next. @default Infinity */
  readonly maxClients?: number;
  /** How many clients may be starting at once. @default 8 */
  readonly startConcurrency?: number;
  /**
   * How long a start may take once its turn has come, with all that it waits for: `credentials`, `storage`, the
   * homeserver, its first sync. In milliseconds. @default 120_000
   */
  readonly startTimeoutMs?: number;
  /** How long a stop waits for callbacks that still run, in milliseconds. @default 10_000 */
  readonly stopTimeoutMs?: number;
  /** Events kept in memory per room and client. @default 100 */
  readonly timelineLimit?: number;
  /** Events fetched at most per room to fill a gap; what is beyond is reported by a `gap` event. @default 1_000 */
  readonly gapFillLimit?: number;
  /**
   * How long filling a gap of a room is tried while the homeserver answers other requests, in milliseconds; then a
   * `gap` event tells of it, and the room goes on. Infinity: for ever. @default 600_000 (10 minutes)
   */
  readonly gapFillTimeoutMs?: number;
  /** How often a failing callback gets an event before it becomes a dead letter. @default 3 */
  readonly callbackAttempts?: number;
  /** The pause before a callback's second attempt, in milliseconds; it doubles each time. @default 1_000 */
  readonly callbackRetryDelayMs?: number;
  /**
   * How long a durable send may fail on a homeserver that answers otherwise, in milliseconds; then it is listed as
   * failed, and the room's next one goes on. Outages do not count, rate limits do. Infinity: for ever. @default 600_000 (10 minutes)
   */
  readonly sendTimeoutMs?: number;
  /**
   * How long one call of a callback may take, in milliseconds. Then its `signal` fires, the attempt counts as failed,
   * and the room goes on, even though the call may still run. Infinity waits for ever. @default 300_000 (5 minutes)
   */
  readonly callbackTimeoutMs?: number;
  /** How many admin calls may be under way at once. @default 4 */
  readonly adminConcurrency?: number;
  /** Time for one request, in milliseconds; a sync gets as much beyond `pollTimeoutMs`. @default 30_000 */
  readonly requestTimeoutMs?: number;
  /** How long the homeserver may hold a sync that has no events, in milliseconds. @default 30_000 */
  readonly pollTimeoutMs?: number;
  /** How large an answer of the homeserver may be, in bytes; a first sync of a large account takes megabytes. @default 268_435_456 */
  readonly maxResponseBytes?: number;
  /** How large a file may be that is sent or downloaded, in bytes. @default 104_857_600 (100 MiB) */
  readonly maxFileBytes?: number;
  /** How many requests of all kinds may go to the homeserver. @default no limit */
  readonly rateLimit?: RateLimit;
  /** How many admin calls may go to it. @default no limit */
  readonly adminRateLimit?: RateLimit;
  /**
   * Whether clients start with the rooms in which somebody has spoken last, and take in the others while they live
   * already, where the homeserver offers simplified sliding sync (MSC4186). Nothing is missed either way. @default true
   */
  readonly slidingSync?: boolean;
  /**
   * End-to-end encryption for the users' clients: `{ path, secret }` of the file that keeps their keys, for one process
   * at a time. @default none: sends to encrypted rooms are refused
   */
  readonly encryption?: EncryptionOptions;
  /** Where all time comes from. @default systemClock */
  readonly clock?: Clock;
  /** Gets log lines by `debug`, `info`, `warn` and `error`, each `(object, message)`: a pino instance fits. @default none */
  readonly logger?: Logger;
  /** OpenTelemetry's, for metrics. @default the global one, as it is when the manager is made */
  readonly meterProvider?: MeterProvider;
  /** OpenTelemetry's, for traces. @default the global one */
  readonly tracerProvider?: TracerProvider;
  /** Sends requests; proxies and test doubles hook in here. @default the global fetch, looked up at each request */
  readonly fetch?: Fetch;
  /** Sends requests instead of `fetch`: `undiciTransport()` of `matrix-client-manager/undici`. @default one on `fetch` */
  readonly transport?: Transport;
}

/** The options with their defaults, checked. */
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

/** Options for which "no limit" makes sense. */
const mayBeInfinite: ReadonlySet<string> = new Set([
  'maxClients',
  'maxHeapBytes',
  'idleTimeoutMs',
  'callbackTimeoutMs',
  'sendTimeoutMs',
  'gapFillTimeoutMs',
]);
const others: readonly (keyof MatrixClientManagerOptions)[] = [
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

/** Checks the caller's options and fills in the defaults. Throws `INVALID_OPTIONS` or, for the admin, `INVALID_USER_ID`. */
export function readOptions(options: MatrixClientManagerOptions): Settings {
  if (!isObject(options)) throw invalid('options', 'an object', options);
  assertKnownOptions('MatrixClientManager', options, [...others, ...(Object.keys(numbers) as NumberOption[])]);
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
  if (deviceName !== undefined && !isSecret(deviceName))
    throw invalid('deviceName', 'a string with content', deviceName);
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
    ...(options.encryption !== undefined && { encryption: readEncryptionOptions(options.encryption) }),
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
  const read = Object.entries(numbers).map(([name, { default: fallback, min }]) => {
    const value = options[name as NumberOption] ?? fallback;
    const whole = Number.isSafeInteger(value) || (value === Infinity && mayBeInfinite.has(name));
    if (!whole || value < min) throw invalid(name, `a whole number of at least ${min}`, value);
    return [name, value];
  });
  return Object.fromEntries(read) as Record<NumberOption, number>;
}

function readBoolean(name: string, value: boolean | undefined, otherwise: boolean): boolean {
  if (value === undefined || typeof value === 'boolean') return value ?? otherwise;
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
    const ok = typeof value === 'number' && Number.isFinite(value) && value > 0;
    if (!ok && !(part === 'burst' && value === undefined)) throw invalid(`${name}.${part}`, 'a number above 0', value);
  }
  return { [name]: limit } as unknown as { [K in Name]?: RateLimit };
}

function readUrl(value: unknown): URL {
  const url = typeof value === 'string' && URL.canParse(value) ? new URL(value) : undefined;
  const plain = url && !url.username && !url.password && !url.search && !url.hash;
  if (plain && (url.protocol === 'https:' || url.protocol === 'http:')) return url;
  // A text is not printed: it may hold a password.
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
  if (accessToken !== undefined && !isSecret(accessToken))
    throw invalid('admin.accessToken', 'Unicode text with content');
  if (password !== undefined && !isSecret(password)) throw invalid('admin.password', 'Unicode text with content');
  if (accessToken === undefined && password === undefined) {
    throw new MatrixClientManagerError('INVALID_OPTIONS', 'expected `admin` to have an accessToken or a password');
  }
  return admin;
}

function isSecret(value: unknown): boolean {
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
