import { randomBytes } from 'node:crypto';
import type { RequestHandler } from 'msw';
import type { Clock } from '../../core/clock.js';
import { systemClock } from '../../core/clock.js';
import { allEndpoints } from './endpoints/endpoints.js';
import type { LoginLimit } from './endpoints/login.js';
import type { SyncBehaviour } from './endpoints/sync.js';
import type { JsonObject } from './json.js';
import { createRoom } from './rooms/create-room.js';
import { changeMembership } from './rooms/membership.js';
import type { ReceiptType } from './rooms/receipts.js';
import type { Room } from './rooms/room.js';
import type { RoomEvent } from './rooms/room-event.js';
import { setReceipt, setTyping } from './rooms/room-signals.js';
import { sendEvent } from './rooms/send-event.js';
import type { UnhandledRequest } from './server/dispatcher.js';
import { Dispatcher } from './server/dispatcher.js';
import type { Faults } from './server/faults.js';
import { inProcessFetch } from './server/in-process-fetch.js';
import { mswHandlers } from './server/msw-handlers.js';
import { NodeServer } from './server/node-server.js';
import type { LoggedRequest } from './server/request-log.js';
import { openDevice } from './world/log-in-out.js';
import { World } from './world/world.js';

export interface FakeHomeserverOptions {
  /** @default 'hs.test' */
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
  /** Bounds logins as Synapse does. @default no bound */
  readonly loginLimit?: LoginLimit;
  /**
   * What `fetch` and the msw handlers do with a request that no endpoint serves: throw, or answer 404 as on a port.
   * Either way it stands in `unhandled`. @default 'throw'
   */
  readonly onUnhandled?: 'throw' | 'record';
}

export interface FakeUser {
  readonly userId: string;
  readonly accessToken: string;
  readonly deviceId: string;
}

/** A homeserver in memory, for tests: it answers as Synapse does, and fails when told to. */
export class FakeHomeserver implements AsyncDisposable {
  readonly serverName: string;
  /** The server admin, who exists from the start. */
  readonly admin: FakeUser & { readonly password: string };
  /** A fetch function that this homeserver answers in process. Other hosts are an error. */
  readonly fetch: typeof globalThis.fetch;
  readonly #baseUrl: string;
  readonly #world: World;
  readonly #dispatcher: Dispatcher;
  readonly #behaviour: SyncBehaviour;
  readonly #onUnhandled: 'throw' | 'record';
  #server: NodeServer | undefined;

  constructor(options: FakeHomeserverOptions = {}) {
    const { serverName = 'hs.test', clock = systemClock, baseUrl = 'http://hs.test', adminApi = true } = options;
    this.serverName = serverName;
    this.#baseUrl = baseUrl.replace(/\/+$/, '');
    this.#onUnhandled = options.onUnhandled ?? 'throw';
    this.#world = new World(clock, serverName);
    this.#behaviour = { timelineLimit: undefined, staleInitialSync: false, stateAfter: options.stateAfter ?? false };
    const endpoints = { adminApi, loginLimit: options.loginLimit, behaviour: this.#behaviour };
    this.#dispatcher = new Dispatcher(this.#world, allEndpoints(this.#world, endpoints));
    const password = randomBytes(16).toString('base64url');
    this.admin = { ...this.createUser({ username: 'admin', admin: true, password }), password };
    this.fetch = inProcessFetch({
      owns: (url) => [this.baseUrl, this.#baseUrl].some((base) => url.href.startsWith(`${base}/`)),
      answer: (request) => this.#answerStrictly(request),
    });
  }

  /** The URL to give to clients: that of the port once `listen` has resolved. */
  get baseUrl(): string {
    return this.#server?.url ?? this.#baseUrl;
  }

  /** Serves on a port of 127.0.0.1. @returns the base URL */
  async listen({ port = 0 }: { port?: number } = {}): Promise<string> {
    this.#server ??= await NodeServer.listen((request) => this.#dispatcher.fetch(request), port);
    return this.baseUrl;
  }

  /** Request handlers for msw's `setupServer`. */
  async handlers(): Promise<RequestHandler[]> {
    return mswHandlers(this.#baseUrl, (request) => this.#answerStrictly(request));
  }

  /** Ends what is being answered, closes the port and stops every timer. */
  async close(): Promise<void> {
    this.#dispatcher.dropAll();
    this.#world.dispose();
    const server = this.#server;
    this.#server = undefined;
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

  /** Makes an account with a session on a new device. */
  createUser(options: {
    username?: string;
    userId?: string;
    displayName?: string;
    admin?: boolean;
    password?: string;
    deviceId?: string;
  }): FakeUser {
    const { username, displayName, admin = false, password, deviceId } = options;
    const userId = options.userId ?? `@${username ?? randomBytes(6).toString('hex')}:${this.serverName}`;
    if (this.#world.users.has(userId)) throw new Error(`expected a user id that is free, got ${userId}`);
    const user = this.#world.addUser(userId);
    if (displayName !== undefined) user.displayName = displayName;
    user.admin = admin;
    user.password = password;
    const { session } = openDevice(this.#world, user, { deviceId });
    return { userId, accessToken: session.accessToken, deviceId: session.deviceId ?? '' };
  }

  /** Makes a room in which `creator` and `members` are. @param options - `preset` and the like as in /createRoom */
  createRoom(options: {
    creator: string;
    members?: readonly string[];
    name?: string;
    topic?: string;
    preset?: 'private_chat' | 'public_chat' | 'trusted_private_chat';
    isDirect?: boolean;
    initialState?: readonly { type: string; stateKey?: string; content: JsonObject }[];
    roomVersion?: string;
  }): string {
    const { creator, members = [], name, topic, preset, isDirect, initialState = [], roomVersion } = options;
    const room = createRoom(this.#world, creator, {
      name,
      topic,
      preset,
      is_direct: isDirect,
      room_version: roomVersion,
      initial_state: initialState.map(({ type, stateKey = '', content }) => ({ type, state_key: stateKey, content })),
    });
    for (const userId of members) this.join(room.roomId, userId);
    return room.roomId;
  }

  /** Lets a user join, inviting them first where the room asks for it. */
  join(roomId: string, userId: string): void {
    const room = this.#room(roomId);
    const isPublic = room.state.current.get('m.room.join_rules')?.content['join_rule'] === 'public';
    if (!isPublic && room.membership(userId) !== 'invite') this.invite(roomId, userId);
    changeMembership(this.#world, room, { sender: userId, target: userId, membership: 'join' });
  }

  /** @param inviter - the room's creator by default */
  invite(roomId: string, userId: string, inviter?: string): void {
    const room = this.#room(roomId);
    const sender = inviter ?? room.events[0]?.sender ?? '';
    changeMembership(this.#world, room, { sender, target: userId, membership: 'invite' });
  }

  leave(roomId: string, userId: string): void {
    changeMembership(this.#world, this.#room(roomId), { sender: userId, target: userId, membership: 'leave' });
  }

  /** @returns the event's id */
  sendMessage(
    roomId: string,
    sender: string,
    textOrContent: string | JsonObject,
    { type = 'm.room.message' }: { type?: string } = {},
  ): string {
    const content = typeof textOrContent === 'string' ? { msgtype: 'm.text', body: textOrContent } : textOrContent;
    return sendEvent(this.#world, this.#room(roomId), { type, sender, content }).eventId;
  }

  /** @returns the event's id */
  sendState(roomId: string, sender: string, type: string, content: JsonObject, stateKey = ''): string {
    return sendEvent(this.#world, this.#room(roomId), { type, sender, content, stateKey }).eventId;
  }

  /** @returns the redaction's id */
  redact(roomId: string, sender: string, eventId: string, reason?: string): string {
    const content = reason === undefined ? {} : { reason };
    const draft = { type: 'm.room.redaction', sender, content, redacts: eventId };
    return sendEvent(this.#world, this.#room(roomId), draft).eventId;
  }

  /** @param timeoutMs - after how long typing ends by itself; 30 seconds by default */
  setTyping(roomId: string, userId: string, typing: boolean, timeoutMs = 30_000): void {
    setTyping(this.#world, this.#room(roomId), userId, typing ? timeoutMs : undefined);
  }

  sendReceipt(roomId: string, userId: string, eventId: string, type: ReceiptType = 'm.read'): void {
    setReceipt(this.#world, this.#room(roomId), { userId, type, eventId, threadId: undefined });
  }

  /** Every event of a room, oldest first. */
  events(roomId: string): readonly RoomEvent[] {
    return this.#room(roomId).events;
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

  /** Ends one session. */
  killToken(accessToken: string): void {
    const session = this.#world.sessions.peek(accessToken);
    if (session) this.#world.sessions.close(session);
  }

  /** Ends a user's sessions. @param options - `softLogout` tells clients that they may log in again as they are */
  killTokens(userId: string, { softLogout = false }: { softLogout?: boolean } = {}): void {
    for (const session of this.#world.sessions.ofUser(userId)) this.#world.sessions.close(session, softLogout);
  }

  /**
   * Cuts incremental timelines to `limit` events per room. @param options - `omitLimited` leaves `limited` out of the
   * answer, as synapse#16463 does
   */
  limitTimelines(limit: number, { omitLimited = false }: { omitLimited?: boolean } = {}): void {
    this.#behaviour.timelineLimit = { limit, omitLimited };
  }

  /** Whether an initial sync repeated within two minutes gets the old answer, as from Synapse. @default false */
  get staleInitialSync(): boolean {
    return this.#behaviour.staleInitialSync;
  }

  set staleInitialSync(stale: boolean) {
    this.#behaviour.staleInitialSync = stale;
  }

  async #answerStrictly(request: Request): Promise<Response> {
    const before = this.unhandled.length;
    const response = await this.#dispatcher.fetch(request);
    const unhandled = this.unhandled[before];
    if (unhandled && this.#onUnhandled === 'throw') {
      throw new Error(
        `FakeHomeserver does not serve ${unhandled.method} ${unhandled.path}; pass onUnhandled: 'record' to answer 404`,
      );
    }
    return response;
  }

  #room(roomId: string): Room {
    const room = this.#world.rooms.get(roomId);
    if (!room) throw new Error(`expected the id of a room of this homeserver, got ${roomId}`);
    return room;
  }
}
