import type { JoinedRoom, MessagesResponse, RawEvent, SyncResponse } from './responses.js';
import { path, type JsonResponse, type Json, RawHttp } from './raw-http.js';

export interface LoginResponse {
  readonly user_id: string;
  readonly access_token: string;
  readonly device_id: string;
  readonly refresh_token?: string;
  readonly expires_in_ms?: number;
}

export interface SyncOptions {
  readonly since?: string;
  /** How long the homeserver waits for new events, in milliseconds. @default 0 */
  readonly timeout?: number;
  /** A filter, or the id of a stored filter. */
  readonly filter?: object | string;
  readonly fullState?: boolean;
  readonly useStateAfter?: boolean;
}

export interface MessagesOptions {
  readonly from?: string;
  readonly to?: string;
  readonly dir?: 'b' | 'f';
  readonly limit?: number;
}

let sentTransactions = 0;

/** One session of a user on one device, with the calls that most tests need. */
export class TestUser {
  readonly userId: string;
  readonly password: string;
  readonly deviceId: string;
  readonly http: RawHttp;

  constructor(http: RawHttp, userId: string, password: string, deviceId: string) {
    this.http = http;
    this.userId = userId;
    this.password = password;
    this.deviceId = deviceId;
  }

  /** The localpart of the user id. */
  get username(): string {
    return this.userId.slice(1, this.userId.indexOf(':'));
  }

  /** Logs the user in again, on a new device unless `deviceId` names one. */
  async logInAgain(deviceId?: string): Promise<TestUser> {
    const { body } = await logIn(this.http.target, this.userId, this.password, { device_id: deviceId });
    return new TestUser(new RawHttp(this.http.target, body.access_token), this.userId, this.password, body.device_id);
  }

  /** Creates a private room that `members` join. Returns its id. */
  async createRoom(members: readonly TestUser[] = [], options: Json = {}): Promise<string> {
    const invite = members.map((member) => member.userId);
    const body = { preset: 'private_chat', invite, ...options };
    const created = await this.http.post<{ room_id: string }>('/_matrix/client/v3/createRoom', body);
    const roomId = created.body.room_id;
    if (created.status !== 200) throw new Error(`createRoom: ${created.status} ${JSON.stringify(created.body)}`);
    for (const member of members) await member.join(roomId);
    return roomId;
  }

  join(roomId: string): Promise<JsonResponse<Json>> {
    return this.http.post(path`/_matrix/client/v3/rooms/${roomId}/join`);
  }

  leave(roomId: string): Promise<JsonResponse<Json>> {
    return this.http.post(path`/_matrix/client/v3/rooms/${roomId}/leave`);
  }

  invite(roomId: string, userId: string): Promise<JsonResponse<Json>> {
    return this.http.post(path`/_matrix/client/v3/rooms/${roomId}/invite`, { user_id: userId });
  }

  /** Sends a text message. Returns its event id. */
  async say(roomId: string, text: string): Promise<string> {
    return (await this.send(roomId, { msgtype: 'm.text', body: text })).body.event_id;
  }

  send(
    roomId: string,
    content: Json,
    { type = 'm.room.message', txnId = `txn-${++sentTransactions}` } = {},
  ): Promise<JsonResponse<{ event_id: string }>> {
    return this.http.put(path`/_matrix/client/v3/rooms/${roomId}/send/${type}/${txnId}`, content);
  }

  setState(roomId: string, type: string, content: Json, stateKey = ''): Promise<JsonResponse<{ event_id: string }>> {
    return this.http.put(path`/_matrix/client/v3/rooms/${roomId}/state/${type}/${stateKey}`, content);
  }

  setTyping(roomId: string, typing: boolean, timeout?: number): Promise<JsonResponse<Json>> {
    const url = path`/_matrix/client/v3/rooms/${roomId}/typing/${this.userId}`;
    return this.http.put(url, timeout === undefined ? { typing } : { typing, timeout });
  }

  sendReceipt(roomId: string, eventId: string, type = 'm.read'): Promise<JsonResponse<Json>> {
    return this.http.post(path`/_matrix/client/v3/rooms/${roomId}/receipt/${type}/${eventId}`);
  }

  async redact(roomId: string, eventId: string, content: Json = {}): Promise<string> {
    const url = path`/_matrix/client/v3/rooms/${roomId}/redact/${eventId}/${`txn-${++sentTransactions}`}`;
    return (await this.http.put<{ event_id: string }>(url, content)).body.event_id;
  }

  async sync(options: SyncOptions = {}): Promise<SyncResponse> {
    const answer = await this.http.get<SyncResponse>('/_matrix/client/v3/sync', {
      since: options.since,
      timeout: options.timeout ?? 0,
      filter: typeof options.filter === 'object' ? JSON.stringify(options.filter) : options.filter,
      full_state: options.fullState,
      'org.matrix.msc4222.use_state_after': options.useStateAfter,
    });
    if (answer.status !== 200) throw new Error(`sync: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  /** Syncs once and returns one room of the `join` section. Rejects if the room is not in it. */
  async syncRoom(roomId: string, options: SyncOptions = {}): Promise<JoinedRoom & { next_batch: string }> {
    const { rooms, next_batch } = await this.sync(options);
    const room = rooms?.join?.[roomId];
    if (!room) throw new Error(`${roomId} is not among the joined rooms of this sync`);
    return { ...room, next_batch };
  }

  /** Syncs from `since` until the room's timeline has an event that `matches`, and returns that event. */
  async waitForEvent(roomId: string, since: string, matches: (event: RawEvent) => boolean): Promise<RawEvent> {
    for (let position = since; ;) {
      const response = await this.sync({ since: position, timeout: 10_000 });
      const found = response.rooms?.join?.[roomId]?.timeline.events.find((event) => matches(event));
      if (found) return found;
      position = response.next_batch;
    }
  }

  async messages(roomId: string, { dir = 'b', ...options }: MessagesOptions = {}): Promise<MessagesResponse> {
    const url = path`/_matrix/client/v3/rooms/${roomId}/messages`;
    const answer = await this.http.get<MessagesResponse>(url, { dir, ...options });
    if (answer.status !== 200) throw new Error(`messages: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  /** Reads all pages of /messages backwards, up to `to` or the start of the room. Newest event first. */
  async pageBack(
    roomId: string,
    limit: number,
    { from, to }: { from?: string | undefined; to?: string | undefined } = {},
  ): Promise<RawEvent[]> {
    const found: RawEvent[] = [];
    for (let position = from; ;) {
      const page = await this.messages(roomId, {
        limit,
        ...(position === undefined ? {} : { from: position }),
        ...(to === undefined ? {} : { to }),
      });
      found.push(...page.chunk);
      if (page.end === undefined) return found;
      position = page.end;
    }
  }
}

/** Logs in with a password. `extra` is added to the body. */
export function logIn(
  target: RawHttp['target'],
  user: string,
  password: string,
  extra: Json = {},
): Promise<JsonResponse<LoginResponse>> {
  return new RawHttp(target).post('/_matrix/client/v3/login', {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user },
    password,
    ...extra,
  });
}
