import type { JsonObject } from '../json.js';
import { isJsonObject } from '../json.js';
import { MatrixError, invalidParam } from '../matrix-error.js';
import type { Room } from '../rooms/room.js';
import type { Viewer } from '../rooms/client-event.js';
import type { ReadAccess } from '../rooms/visibility.js';
import { readAccess } from '../rooms/visibility.js';
import type { Session } from '../world/sessions.js';
import type { User } from '../world/user.js';
import type { World } from '../world/world.js';
import type { ReceivedRequest } from './received-request.js';

export type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';

/** A JSON response with a status other than 200. */
export class Reply {
  constructor(
    readonly status: number,
    readonly body: unknown,
  ) {}
}

/** Handles a request. Returns the body of a 200, a `Reply` or a `Response`. Throws a `MatrixError` to refuse. */
export type Handler = (request: EndpointRequest) => unknown;

export interface Endpoint {
  readonly method: Method;
  /** Template such as `/rooms/{roomId}/messages`, below `/_matrix/client/v3` unless it starts with `/_`. */
  readonly path: string;
  /** Whether it needs no token, the token of a user, or the token of a server admin. */
  readonly auth: 'none' | 'user' | 'admin';
  readonly handle: Handler;
}

/** A request to an endpoint. */
export class EndpointRequest {
  readonly query: URLSearchParams;
  readonly signal: AbortSignal;
  readonly path: string;
  readonly headers: Headers;
  /** The unchanged body. */
  readonly bytes: Uint8Array;
  readonly #accessToken: string | undefined;
  readonly #body: string;

  /** @param params - values of the template's placeholders, decoded */
  constructor(
    readonly world: World,
    readonly params: Readonly<Record<string, string>>,
    received: ReceivedRequest,
  ) {
    this.query = received.query;
    this.signal = received.signal;
    this.path = received.path;
    this.headers = received.headers;
    this.bytes = received.bytes;
    this.#accessToken = received.accessToken;
    this.#body = received.body;
  }

  /** The session of the access token. Throws 401 without a valid token. */
  get session(): Session {
    return this.world.sessions.use(this.#accessToken);
  }

  get user(): User {
    return this.world.knownUser(this.session.userId);
  }

  /** A key for the requesting device, unique on the server: made of its id, or of its token if it has no id. */
  get device(): string {
    const { userId, deviceId, accessToken } = this.session;
    return `${userId}\n${deviceId ?? accessToken}`;
  }

  get viewer(): Viewer {
    return { userId: this.session.userId, device: this.device, now: this.world.clock.now() };
  }

  param(name: string): string {
    return this.params[name] ?? '';
  }

  /** A required query parameter. Throws 400 if it is missing. */
  required(name: string): string {
    const value = this.query.get(name);
    if (value !== null) return value;
    throw new MatrixError(400, 'M_MISSING_PARAM', `Missing required string query parameter ${name}`);
  }

  /** The room in the path. Throws 403 if the user is not in it. */
  joinedRoom(): Room {
    return this.world.joinedRoom(this.param('roomId'), this.session.userId);
  }

  /** The room in the path, with the range that the user may read. Throws 403 if the user may not read it. */
  readableRoom(): ReadAccess {
    const roomId = this.param('roomId');
    return readAccess(this.world.rooms.get(roomId), this.user, roomId);
  }

  /** The body as a JSON object. Throws 400 if it is not one. */
  json(options: { allowEmpty?: boolean } = {}): JsonObject {
    if (this.#body === '' && options.allowEmpty) return {};
    let body: unknown;
    try {
      body = JSON.parse(this.#body);
    } catch {
      throw new MatrixError(400, 'M_NOT_JSON', 'Content not JSON.');
    }
    if (!isJsonObject(body)) throw new MatrixError(400, 'M_BAD_JSON', 'Content must be a JSON object.');
    return body;
  }

  /** A query parameter that is a whole number of at least 0, or `otherwise` if it is missing. Throws 400. */
  integer(name: string, otherwise: number): number {
    const value = this.query.get(name);
    if (value === null) return otherwise;
    if (!/^-?\d+$/.test(value)) throw invalidParam(`Query parameter ${name} must be an integer`);
    if (value.startsWith('-')) throw invalidParam(`Query parameter ${name} must be a positive integer.`);
    return Number(value);
  }

  boolean(name: string, otherwise: boolean): boolean {
    const value = this.query.get(name);
    if (value === null) return otherwise;
    if (value === 'true' || value === 'false') return value === 'true';
    throw invalidParam(`Boolean query parameter '${name}' must be one of ['true', 'false']`);
  }

  /** A query parameter that is one of `allowed`, or `otherwise` if it is missing. Throws 400. */
  oneOf<T extends string>(name: string, allowed: readonly T[], otherwise: T): T {
    const value = this.query.get(name);
    if (value === null) return otherwise;
    const found = allowed.find((candidate) => candidate === value);
    if (found === undefined) {
      const list = allowed.map((candidate) => `'${candidate}'`).join(', ');
      throw invalidParam(`Query parameter '${name}' must be one of [${list}]`);
    }
    return found;
  }
}
