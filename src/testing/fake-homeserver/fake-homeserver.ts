import { randomBytes } from 'node:crypto';
import type { RequestHandler } from 'msw';
import { checkOptions, optionsOf, unchecked } from '../../core/validation.js';
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
  /** The clock of the homeserver. @default the system's clock */
  readonly clock?: Clock;
  /** The base URL that `fetch` and the msw handlers serve. @default 'http://hs.test' */
  readonly baseUrl?: string;
  /** Whether Synapse's Admin API is served. @default true */
  readonly adminApi?: boolean;
  /**
   * Whether syncs return the state after the timeline on request (MSC4222). matrix-js-sdk requests it. Synapse supports
   * it only if it is enabled in its configuration. @default false
   */
  readonly stateAfter?: boolean;
  /** Whether simplified sliding sync (MSC4186) is served, as by Synapse. @default true */
  readonly slidingSync?: boolean;
  /** Whether downloads need a token, as in v1.11 of the specification. If false, v1.10 is served. @default true */
  readonly authenticatedMedia?: boolean;
  /** Limits the rate of logins as Synapse does. @default no limit */
  readonly loginLimit?: LoginLimit;
  /**
   * Whether `fetch` and the msw handlers throw for a request that no endpoint serves, or respond with 404 as the port
   * does (`'record'`). Both add the request to `unhandled`. @default 'throw'
   */
  readonly onUnhandled?: OnUnhandled;
}

const optionsSchema = optionsOf<FakeHomeserverOptions>({
  serverName: unchecked(),
  clock: unchecked(),
  baseUrl: unchecked(),
  adminApi: unchecked(),
  stateAfter: unchecked(),
  slidingSync: unchecked(),
  authenticatedMedia: unchecked(),
  loginLimit: unchecked(),
  onUnhandled: unchecked(),
});

/** A homeserver in memory, for tests. It responds as Synapse does, and fails on demand through `faults`. */
export class FakeHomeserver extends WorldDriver implements AsyncDisposable {
  readonly serverName: string;
  /** The account with admin rights, created with the homeserver. */
  readonly admin: FakeUser & { readonly password: string };
  /** A fetch function that this homeserver serves in process. Requests to other hosts reject. */
  readonly fetch: typeof globalThis.fetch;
  readonly #baseUrl: string;
  readonly #world: World;
  readonly #dispatcher: Dispatcher;
  readonly #behaviour: SyncBehaviour & MediaBehaviour;
  readonly #onUnhandled: OnUnhandled;
  #server: NodeServer | undefined;
  #listening: Promise<NodeServer> | undefined;

  constructor(options: FakeHomeserverOptions = {}) {
    const given = checkOptions('FakeHomeserver', optionsSchema, options);
    const { serverName = 'hs.test', clock = systemClock, baseUrl = 'http://hs.test', adminApi = true } = given;
    const { onUnhandled = 'throw' } = given;
    const world = new World(clock, serverName);
    super(world);
    this.#world = world;
    this.serverName = serverName;
    this.#baseUrl = baseUrl.replace(/\/+$/, '');
    this.#onUnhandled = onUnhandled;
    this.#behaviour = {
      timelineLimit: undefined,
      staleInitialSync: false,
      staleSync: false,
      stateAfter: given.stateAfter ?? false,
      slidingSync: given.slidingSync ?? true,
      authenticatedMedia: given.authenticatedMedia ?? true,
    };
    const endpoints = { adminApi, loginLimit: given.loginLimit, behaviour: this.#behaviour };
    this.#dispatcher = new Dispatcher(this.#world, allEndpoints(this.#world, endpoints));
    const password = randomBytes(16).toString('base64url');
    this.admin = { ...this.createUser({ username: 'admin', admin: true, password }), password };
    this.fetch = inProcessFetch({
      owns: (url) => [this.baseUrl, this.#baseUrl].some((base) => url.href.startsWith(`${base}/`)),
      answer: (request) => this.#dispatcher.fetch(request, onUnhandled),
    });
  }

  /** The base URL for clients. After `listen` has resolved, it is the URL of the port. */
  get baseUrl(): string {
    return this.#server?.url ?? this.#baseUrl;
  }

  /** Serves HTTP on a port of 127.0.0.1. @param options - `port` is any free one by default @returns the base URL */
  async listen({ port = 0 }: { port?: number } = {}): Promise<string> {
    this.#listening ??= NodeServer.listen((request) => this.#dispatcher.fetch(request, 'record'), port);
    try {
      this.#server = await this.#listening;
    } catch (error) {
      this.#listening = undefined; // a used port may be free at the next call
      throw error;
    }
    return this.baseUrl;
  }

  /** Request handlers for msw's `setupServer`. */
  async handlers(): Promise<RequestHandler[]> {
    return mswHandlers(this.#baseUrl, (request) => this.#dispatcher.fetch(request, this.#onUnhandled));
  }

  /** Aborts running requests, closes the port and stops all timers. */
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

  /** Breaks all connections and long polls, as a restart does. All data stays. */
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

  /** Counts logged requests. @param which - an endpoint such as `/sync`, or a predicate */
  countRequests(which: string | ((request: LoggedRequest) => boolean)): number {
    if (typeof which === 'string') this.#dispatcher.assertEndpoint(which);
    const isCounted = typeof which === 'string' ? ({ endpoint }: LoggedRequest) => endpoint === which : which;
    return this.requests.filter(isCounted).length;
  }

  /** Number of running requests, long polls included. */
  get inFlight(): number {
    return this.#dispatcher.log.inFlight;
  }

  /** Received requests that no endpoint serves. */
  get unhandled(): readonly UnhandledRequest[] {
    return this.#dispatcher.unhandled;
  }

  /** Faults to inject between clients and this homeserver, such as dropped connections. */
  get faults(): Faults {
    return this.#dispatcher.faults;
  }

  /**
   * Limits timelines of incremental syncs to `limit` events per room, until the returned disposer is called.
   * @param options - `omitLimited` leaves the flag `limited` out of the response, as in synapse#16463
   */
  limitTimelines(limit: number, { omitLimited = false }: { omitLimited?: boolean } = {}): Disposer {
    const timelineLimit = { limit, omitLimited };
    this.#behaviour.timelineLimit = timelineLimit;
    return () => {
      if (this.#behaviour.timelineLimit === timelineLimit) this.#behaviour.timelineLimit = undefined;
    };
  }

  /** Whether simplified sliding sync is served. Its connections keep their state while it is off. */
  get slidingSync(): boolean {
    return this.#behaviour.slidingSync;
  }

  set slidingSync(served: boolean) {
    this.#behaviour.slidingSync = served;
  }

  /** Whether an identical initial sync within two minutes gets the cached response, as in Synapse. @default false */
  get staleInitialSync(): boolean {
    return this.#behaviour.staleInitialSync;
  }

  set staleInitialSync(stale: boolean) {
    this.#behaviour.staleInitialSync = stale;
  }

  /** Whether any identical sync within two minutes gets the cached response, as in Synapse. @default false */
  get staleSync(): boolean {
    return this.#behaviour.staleSync;
  }

  set staleSync(stale: boolean) {
    this.#behaviour.staleSync = stale;
  }
}
