import { randomBytes } from 'node:crypto';
import type { RequestHandler } from 'msw';
import { assertKnownOptions } from '../../core/call-options.js';
import type { Clock } from '../../core/clock.js';
import { systemClock } from '../../core/clock.js';
import { allEndpoints } from './endpoints/endpoints.js';
import type { LoginLimit } from './endpoints/login.js';
import type { MediaBehaviour } from './endpoints/media.js';
import type { SyncBehaviour } from './endpoints/sync.js';
import type { OnUnhandled, UnhandledRequest } from './server/dispatcher.js';
import { Dispatcher } from './server/dispatcher.js';
import type { Disposer, Faults } from './server/faults.js';
import { inProcessFetch } from './server/in-process-fetch.js';
import { mswHandlers } from './server/msw-handlers.js';
import { NodeServer } from './server/node-server.js';
import type { LoggedRequest } from './server/request-log.js';
import { World } from './world/world.js';
import type { FakeUser } from './world-driver.js';
import { WorldDriver } from './world-driver.js';

export interface FakeHomeserverOptions {
  /** The server's name in user ids. @default 'hs.test' */
  readonly serverName?: string;
  /** Where the homeserver takes its time from. @default the system's clock */
  readonly clock?: Clock;
  /** The URL at which `fetch` and the msw handlers answer. @default 'http://hs.test' */
  readonly baseUrl?: string;
  /** Whether Synapse's Admin API is served. @default true */
  readonly adminApi?: boolean;
  /**
   * Whether syncs give the state after the timeline to clients that ask for it (MSC4222, which matrix-js-sdk does).
   * Synapse has that, switched off unless configured. @default false
   */
  readonly stateAfter?: boolean;
  /** Whether simplified sliding sync (MSC4186) is served, which Synapse does. @default true */
  readonly slidingSync?: boolean;
  /** Whether files are read with a token only, as since v1.11 of the specification; else it speaks v1.10. @default true */
  readonly authenticatedMedia?: boolean;
  /** Bounds logins as Synapse does. @default no bound */
  readonly loginLimit?: LoginLimit;
  /**
   * What `fetch` and the msw handlers do with a request that no endpoint serves: throw, or answer 404 as on a port.
   * Either way it stands in `unhandled`. @default 'throw'
   */
  readonly onUnhandled?: OnUnhandled;
}

const optionNames: readonly (keyof FakeHomeserverOptions)[] = [
  'serverName',
  'clock',
  'baseUrl',
  'adminApi',
  'stateAfter',
  'slidingSync',
  'authenticatedMedia',
  'loginLimit',
  'onUnhandled',
];

/** A homeserver in memory, for tests: it answers as Synapse does, and fails when told to. */
export class FakeHomeserver extends WorldDriver implements AsyncDisposable {
  readonly serverName: string;
  /** The server admin, who exists from the start. */
  readonly admin: FakeUser & { readonly password: string };
  /** A fetch function that this homeserver answers in process. Other hosts are an error. */
  readonly fetch: typeof globalThis.fetch;
  readonly #baseUrl: string;
  readonly #world: World;
  readonly #dispatcher: Dispatcher;
  readonly #behaviour: SyncBehaviour & MediaBehaviour;
  readonly #onUnhandled: OnUnhandled;
  #server: NodeServer | undefined;
  #listening: Promise<NodeServer> | undefined;

  constructor(options: FakeHomeserverOptions = {}) {
    assertKnownOptions('FakeHomeserver', options, optionNames);
    const { serverName = 'hs.test', clock = systemClock, baseUrl = 'http://hs.test', adminApi = true } = options;
    const { onUnhandled = 'throw' } = options;
    const world = new World(clock, serverName);
    super(world);
    this.#world = world;
    this.serverName = serverName;
    this.#baseUrl = baseUrl.replace(/\/+$/, '');
    this.#onUnhandled = onUnhandled;
    this.#behaviour = {
      timelineLimit: undefined,
      staleInitialSync: false,
      stateAfter: options.stateAfter ?? false,
      slidingSync: options.slidingSync ?? true,
      authenticatedMedia: options.authenticatedMedia ?? true,
    };
    const endpoints = { adminApi, loginLimit: options.loginLimit, behaviour: this.#behaviour };
    this.#dispatcher = new Dispatcher(this.#world, allEndpoints(this.#world, endpoints));
    const password = randomBytes(16).toString('base64url');
    this.admin = { ...this.createUser({ username: 'admin', admin: true, password }), password };
    this.fetch = inProcessFetch({
      owns: (url) => [this.baseUrl, this.#baseUrl].some((base) => url.href.startsWith(`${base}/`)),
      answer: (request) => this.#dispatcher.fetch(request, onUnhandled),
    });
  }

  /** The URL to give to clients: that of the port once `listen` has resolved. */
  get baseUrl(): string {
    return this.#server?.url ?? this.#baseUrl;
  }

  /** Serves on a port of 127.0.0.1. @returns the base URL */
  async listen({ port = 0 }: { port?: number } = {}): Promise<string> {
    this.#listening ??= NodeServer.listen((request) => this.#dispatcher.fetch(request, 'record'), port);
    try {
      this.#server = await this.#listening;
    } catch (error) {
      this.#listening = undefined; // a port that is taken can be free the next time
      throw error;
    }
    return this.baseUrl;
  }

  /** Request handlers for msw's `setupServer`. */
  async handlers(): Promise<RequestHandler[]> {
    return mswHandlers(this.#baseUrl, (request) => this.#dispatcher.fetch(request, this.#onUnhandled));
  }

  /** Ends what is being answered, closes the port and stops every timer. */
  async close(): Promise<void> {
    this.#dispatcher.dropAll();
    this.#world.dispose();
    const server = await this.#listening;
    this.#server = undefined;
    this.#listening = undefined;
    await server?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Breaks every connection and long poll, as a restart does; what the homeserver knows stays. */
  restart(): void {
    this.#dispatcher.dropAll();
    this.#server?.dropConnections();
  }

  /** Requests received since the start or the last `clearRequests`, oldest first. */
  get requests(): readonly LoggedRequest[] {
    return this.#dispatcher.log.entries;
  }

  clearRequests(): void {
    this.#dispatcher.log.entries = [];
  }

  /** @param which - an endpoint such as `/sync`, or what the requests have to satisfy */
  countRequests(which: string | ((request: LoggedRequest) => boolean)): number {
    if (typeof which === 'string') this.#dispatcher.assertEndpoint(which);
    const isCounted = typeof which === 'string' ? ({ endpoint }: LoggedRequest) => endpoint === which : which;
    return this.requests.filter(isCounted).length;
  }

  /** How many requests are being answered now, long polls included. */
  get inFlight(): number {
    return this.#dispatcher.log.inFlight;
  }

  /** Requests that no endpoint serves. */
  get unhandled(): readonly UnhandledRequest[] {
    return this.#dispatcher.unhandled;
  }

  /** What goes wrong between clients and this homeserver. */
  get faults(): Faults {
    return this.#dispatcher.faults;
  }

  /**
   * Cuts incremental timelines to `limit` events per room. @param options - `omitLimited` leaves `limited` out of the
   * answer, as synapse#16463 does
   */
  limitTimelines(limit: number, { omitLimited = false }: { omitLimited?: boolean } = {}): Disposer {
    const timelineLimit = { limit, omitLimited };
    this.#behaviour.timelineLimit = timelineLimit;
    return () => {
      if (this.#behaviour.timelineLimit === timelineLimit) this.#behaviour.timelineLimit = undefined;
    };
  }

  /** Whether simplified sliding sync is served; what has been told on its connections is remembered. */
  get slidingSync(): boolean {
    return this.#behaviour.slidingSync;
  }

  set slidingSync(served: boolean) {
    this.#behaviour.slidingSync = served;
  }

  /** Whether an initial sync repeated within two minutes gets the old answer, as from Synapse. @default false */
  get staleInitialSync(): boolean {
    return this.#behaviour.staleInitialSync;
  }

  set staleInitialSync(stale: boolean) {
    this.#behaviour.staleInitialSync = stale;
  }
}
