import * as v from 'valibot';
import type { CallOptions } from '../core/call-options.js';
import { isManagerError } from '../core/errors.js';
import { isObject } from '../core/raw-event.js';
import type { EventContent } from '../core/raw-event.js';
import { checkedAs, object, optionsOf, shown, signal, userId } from '../core/validation.js';
import type { Entries, Schema } from '../core/validation.js';
import type { HomeserverHttp, HttpRequest } from '../http/homeserver-http.js';
import { path } from '../http/path.js';
import type { Session } from '../http/session.js';

/** The user who makes a call of `manager.rooms`: either `userId` or `actor`. */
export interface RoomCallOptions extends CallOptions {
  /** The user who acts. */
  readonly userId?: string | undefined;
  /** The account of the option `admin` acts. */
  readonly actor?: 'admin' | undefined;
}

/** The schema of the options of a call: these entries, who acts, and a signal. */
export function callOf<T extends RoomCallOptions>(entries: Omit<Entries<T>, keyof RoomCallOptions>): Schema<T> {
  const actor = checkedAs<'admin'>("'admin'", (value) => value === 'admin', shown);
  const common = { userId: v.optional(userId), actor: v.optional(actor), signal: v.optional(signal) };
  return v.pipe(
    optionsOf<T>({ ...entries, ...common } as unknown as Entries<T>),
    v.check(
      (options) => (options.userId === undefined) !== (options.actor === undefined),
      "an object with either `userId` or `actor: 'admin'`",
    ),
  );
}

/** The user who makes the requests of one call. */
export class Actor {
  readonly http: HomeserverHttp;
  readonly session: Session;
  readonly signal: AbortSignal;

  constructor(http: HomeserverHttp, session: Session, callSignal: AbortSignal) {
    this.http = http;
    this.session = session;
    this.signal = callSignal;
  }

  get userId(): string {
    return this.session.userId;
  }

  /** The same user, whose requests end with another signal. */
  withSignal(other: AbortSignal): Actor {
    return new Actor(this.http, this.session, other);
  }

  request<S extends v.GenericSchema>(
    schema: S,
    request: Omit<HttpRequest, 'userId' | 'session' | 'signal'>,
  ): Promise<v.InferOutput<S>> {
    const { session, signal: callSignal, userId: user } = this;
    return this.http.request(schema, { ...request, userId: user, session, signal: callSignal });
  }

  /** The content of a state event. Rejects with `NOT_FOUND` if the room has none. */
  async state(roomId: string, type: string, stateKey = ''): Promise<EventContent> {
    return this.request(stateSchema, {
      operation: `reading ${type} of ${roomId}`,
      roomId,
      method: 'GET',
      path: statePath(roomId, type, stateKey),
    });
  }

  /**
   * A state event with its sender. Needs a homeserver that supports `format=event`; others return the content, in which
   * case the sender is that of old room versions.
   */
  async stateEvent(roomId: string, type: string): Promise<{ content: EventContent; sender: unknown }> {
    const event = await this.request(stateSchema, {
      operation: `reading ${type} of ${roomId}`,
      roomId,
      method: 'GET',
      path: statePath(roomId, type, ''),
      query: { format: 'event' },
    });
    if (isObject(event.content)) return { content: event.content, sender: event.sender };
    return { content: event, sender: event.creator };
  }

  /** The content of a state event; undefined if the room has none. */
  async stateIfAny(roomId: string, type: string, stateKey = ''): Promise<EventContent | undefined> {
    try {
      return await this.state(roomId, type, stateKey);
    } catch (error) {
      if (isManagerError(error, 'NOT_FOUND')) return undefined;
      throw error;
    }
  }
}

const stateSchema = object<EventContent>();

/** The path of a state event. The empty state key has a path that ends with a slash. */
export function statePath(roomId: string, type: string, stateKey: string): string {
  const start = path`/_matrix/client/v3/rooms/${roomId}/state/${type}/`;
  return stateKey === '' ? start : start + path`${stateKey}`;
}

/** Runs a call as the user, or as the admin without a user id. Starts no client. The signal also fires at the shutdown. */
export type RunAsActor = <T>(
  userId: string | undefined,
  call: (actor: Actor) => Promise<T>,
  signal: AbortSignal | undefined,
) => Promise<T>;
