import * as v from 'valibot';
import { isManagerError } from '../core/errors.js';
import { KeyedQueue } from '../core/keyed-queue.js';
import { isObject } from '../core/raw-event.js';
import type { EventContent } from '../core/raw-event.js';
import type { HomeserverHttp, HttpRequest } from '../http/homeserver-http.js';
import { path } from '../http/path.js';
import type { Session } from '../http/session.js';
import type {
  GetAccountDataOptions,
  RemoveTagOptions,
  SetAccountDataOptions,
  SetTagOptions,
} from './account-data-options.js';

/** Not copied: valibot would leave out a key `__proto__`, which another client may have stored. */
const contentSchema = v.custom<EventContent>(isObject);
const tagsSchema = v.object({ tags: contentSchema });

/** What a request about account data needs besides its own options. */
type AboutAccountData = Pick<HttpRequest, 'operation' | 'method' | 'path' | 'body'>;

/**
 * Reads and changes the account data of a user, which only the user sees, and the tags of rooms.
 * @see https://spec.matrix.org/v1.16/client-server-api/#client-config
 */
export class AccountData {
  readonly #http: HomeserverHttp;
  /** One change of a content at a time. */
  readonly #queue = new KeyedQueue();

  constructor(http: HomeserverHttp) {
    this.#http = http;
  }

  async get(
    session: Session,
    options: Pick<GetAccountDataOptions, 'type' | 'roomId'>,
    signal: AbortSignal,
  ): Promise<EventContent> {
    const request = { operation: 'reading account data', method: 'GET', path: pathOf(session, options) } as const;
    return this.#request(contentSchema, session, options.roomId, request, signal);
  }

  /** Like {@link get}; undefined if there is no content. */
  async getIfPresent(
    session: Session,
    options: Pick<GetAccountDataOptions, 'type' | 'roomId'>,
    signal: AbortSignal,
  ): Promise<EventContent | undefined> {
    try {
      return await this.get(session, options, signal);
    } catch (error) {
      // Another 404, such as that of a proxy, does not say that there is no content.
      if (isManagerError(error, 'NOT_FOUND') && error.errcode === 'M_NOT_FOUND') return undefined;
      throw error;
    }
  }

  /**
   * Replaces the content by what `change` makes of it; `undefined` leaves it as it is. `change` gets undefined if there is
   * no content. Runs alone: other changes of the same content wait.
   */
  async update(
    session: Session,
    options: Pick<GetAccountDataOptions, 'type' | 'roomId'>,
    change: (content: EventContent | undefined) => EventContent | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const changeInTurn = async (): Promise<void> => {
      const changed = change(await this.getIfPresent(session, options, signal));
      if (changed !== undefined) await this.#put(session, { ...options, content: changed }, signal);
    };
    await this.#queue.run(queueKey(session, options), changeInTurn, signal, 'changing account data');
  }

  async set(
    session: Session,
    options: Pick<SetAccountDataOptions, 'type' | 'roomId' | 'content'>,
    signal: AbortSignal,
  ): Promise<void> {
    const put = (): Promise<void> => this.#put(session, options, signal);
    await this.#queue.run(queueKey(session, options), put, signal, 'storing account data');
  }

  async #put(
    session: Session,
    options: Pick<SetAccountDataOptions, 'type' | 'roomId' | 'content'>,
    signal: AbortSignal,
  ): Promise<void> {
    const { content: body, roomId } = options;
    const request = { operation: 'storing account data', method: 'PUT', path: pathOf(session, options), body } as const;
    await this.#request(v.unknown(), session, roomId, request, signal);
  }

  /** The room's tags, with the order of each, if it has one. */
  async tags(session: Session, roomId: string, signal: AbortSignal): Promise<Map<string, number | undefined>> {
    const { userId } = session;
    const request = {
      operation: 'reading the tags of a room',
      method: 'GET',
      path: path`/_matrix/client/v3/user/${userId}/rooms/${roomId}/tags`,
    } as const;
    const { tags } = await this.#request(tagsSchema, session, roomId, request, signal);
    return new Map(Object.entries(tags).map(([tag, info]) => [tag, orderOf(info)]));
  }

  async setTag(session: Session, { roomId, tag, order }: Omit<SetTagOptions, 'userId'>, signal: AbortSignal) {
    const request = {
      operation: 'tagging a room',
      method: 'PUT',
      path: tagPath(session, roomId, tag),
      body: { ...(order !== undefined && { order }) },
    } as const;
    await this.#request(v.unknown(), session, roomId, request, signal);
  }

  async removeTag(session: Session, { roomId, tag }: Omit<RemoveTagOptions, 'userId'>, signal: AbortSignal) {
    const request = {
      operation: 'removing the tag of a room',
      method: 'DELETE',
      path: tagPath(session, roomId, tag),
    } as const;
    await this.#request(v.unknown(), session, roomId, request, signal);
  }

  #request<Schema extends v.GenericSchema>(
    schema: Schema,
    session: Session,
    roomId: string | undefined,
    request: AboutAccountData,
    signal: AbortSignal,
  ): Promise<v.InferOutput<Schema>> {
    const { userId } = session;
    return this.#http.request(schema, { ...request, userId, roomId, session, signal });
  }
}

function queueKey({ userId }: Session, { type, roomId }: Pick<GetAccountDataOptions, 'type' | 'roomId'>): string {
  return JSON.stringify([userId, roomId, type]);
}

function pathOf({ userId }: Session, { type, roomId }: Pick<GetAccountDataOptions, 'type' | 'roomId'>): string {
  return roomId === undefined
    ? path`/_matrix/client/v3/user/${userId}/account_data/${type}`
    : path`/_matrix/client/v3/user/${userId}/rooms/${roomId}/account_data/${type}`;
}

function tagPath({ userId }: Session, roomId: string, tag: string): string {
  return path`/_matrix/client/v3/user/${userId}/rooms/${roomId}/tags/${tag}`;
}

function orderOf(info: unknown): number | undefined {
  const order = (info as { readonly order?: unknown } | null)?.order;
  return typeof order === 'number' ? order : undefined;
}
