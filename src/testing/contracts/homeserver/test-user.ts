import type { JoinedRoom, MessagesAnswer, RawEvent, SyncAnswer } from './answers.js';
import { path, type Answer, type Json, RawHttp } from './raw-http.js';

export interface LoginAnswer {
  readonly user_id: string;
  readonly access_token: string;
  readonly device_id: string;
  readonly refresh_token?: string;
  readonly expires_in_ms?: number;
}

export interface SyncOptions {
  readonly since?: string;
  /** Milliseconds to wait for news. @default 0 */
  readonly timeout?: number;
  /** A filter as an object, or the id of a stored one. */
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

let transactions = 0;

/** One session of a user: their token on their device, and the calls that most tests need. */
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

  /** Another session of the same user, on a device of its own unless `deviceId` names one. */
  async logInAgain(deviceId?: string): Promise<TestUser> {
    const { body } = await logIn(this.http.target, this.userId, this.password, { device_id: deviceId });
    return new TestUser(new RawHttp(this.http.target, body.access_token), this.userId, this.password, body.device_id);
  }

  /** Creates a private room with `members` in it, and gives its id. */
  async createRoom(members: readonly TestUser[] = [], options: Json = {}): Promise<string> {
    const invite = members.map((member) => member.userId);
    const body = { preset: 'private_chat', invite, ...options };
    const created = await this.http.post<{ room_id: string }>('/_matrix/client/v3/createRoom', body);
    const roomId = created.body.room_id;
    if (created.status !== 200) throw new Error(`createRoom: ${created.status} ${JSON.stringify(created.body)}`);
    for (const member of members) await member.join(roomId);
    return roomId;
  }

  join(roomId: string): Promise<Answer<Json>> {
    return this.http.post(path`/_matrix/client/v3/rooms/${roomId}/join`);
  }

  leave(roomId: string): Promise<Answer<Json>> {
    return this.http.post(path`/_matrix/client/v3/rooms/${roomId}/leave`);
  }

  invite(roomId: string, userId: string): Promise<Answer<Json>> {
    return this.http.post(path`/_matrix/client/v3/rooms/${roomId}/invite`, { user_id: userId });
  }

  /** Sends a text message and gives its event id. */
  async say(roomId: string, text: string): Promise<string> {
    return (await this.send(roomId, { msgtype: 'm.text', body: text })).body.event_id;
  }

  send(
    roomId: string,
    content: Json,
    { type = 'm.room.message', txnId = `txn-${++transactions}` } = {},
  ): Promise<Answer<{ event_id: string }>> {
    return this.http.put(path`/_matrix/client/v3/rooms/${roomId}/send/${type}/${txnId}`, content);
  }

  setState(roomId: string, type: string, content: Json, stateKey = ''): Promise<Answer<{ event_id: string }>> {
    return this.http.put(path`/_matrix/client/v3/rooms/${roomId}/state/${type}/${stateKey}`, content);
  }

  setTyping(roomId: string, typing: boolean, timeout?: number): Promise<Answer<Json>> {
    const url = path`/_matrix/client/v3/rooms/${roomId}/typing/${this.userId}`;
    return this.http.put(url, timeout === undefined ? { typing } : { typing, timeout });
  }

  sendReceipt(roomId: string, eventId: string, type = 'm.read'): Promise<Answer<Json>> {
    return this.http.post(path`/_matrix/client/v3/rooms/${roomId}/receipt/${type}/${eventId}`);
  }

  async redact(roomId: string, eventId: string, content: Json = {}): Promise<string> {
    const url = path`/_matrix/client/v3/rooms/${roomId}/redact/${eventId}/${`txn-${++transactions}`}`;
    return (await this.http.put<{ event_id: string }>(url, content)).body.event_id;
  }

  async sync(options: SyncOptions = {}): Promise<SyncAnswer> {
    const answer = await this.http.get<SyncAnswer>('/_matrix/client/v3/sync', {
      since: options.since,
      timeout: options.timeout ?? 0,
      filter: typeof options.filter === 'object' ? JSON.stringify(options.filter) : options.filter,
      full_state: options.fullState,
      'org.matrix.msc4222.use_state_after': options.useStateAfter,
    });
    if (answer.status !== 200) throw new Error(`sync: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  /** One room of one sync; throws when the room is not in its `join` section. */
  async syncRoom(roomId: string, options: SyncOptions = {}): Promise<JoinedRoom & { next_batch: string }> {
    const { rooms, next_batch } = await this.sync(options);
    const room = rooms?.join?.[roomId];
    if (!room) throw new Error(`${roomId} is not among the joined rooms of this sync`);
    return { ...room, next_batch };
  }

  /** Follows a room from `since` with long polls until its timeline has an event that `matches`. */
  async firstNews(roomId: string, since: string, matches: (event: RawEvent) => boolean): Promise<RawEvent> {
    for (let position = since; ;) {
      const news = await this.sync({ since: position, timeout: 10_000 });
      const found = news.rooms?.join?.[roomId]?.timeline.events.find((event) => matches(event));
      if (found) return found;
      position = news.next_batch;
    }
  }

  async messages(roomId: string, { dir = 'b', ...options }: MessagesOptions = {}): Promise<MessagesAnswer> {
    const url = path`/_matrix/client/v3/rooms/${roomId}/messages`;
    const answer = await this.http.get<MessagesAnswer>(url, { dir, ...options });
    if (answer.status !== 200) throw new Error(`messages: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  /** Pages back with /messages until there is no `end`, or to `to`; newest first. */
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

/** The standard password login; `extra` adds to its body. */
export function logIn(
  target: RawHttp['target'],
  user: string,
  password: string,
  extra: Json = {},
): Promise<Answer<LoginAnswer>> {
  return new RawHttp(target).post('/_matrix/client/v3/login', {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user },
    password,
    ...extra,
  });
}
