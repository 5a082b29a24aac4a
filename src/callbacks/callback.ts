import * as v from 'valibot';
import { clientEventTypes } from '../core/client-event.js';
import type { ClientEvent } from '../core/client-event.js';
import { eventTypeList, EventTypes } from '../core/event-types.js';
import { isObject } from '../core/raw-event.js';
import { checkedAs, checkOptions, flag, functionOf, listOf, optionsOf, roomId, userId } from '../core/validation.js';
import type { Schema } from '../core/validation.js';

/** The second argument of a callback. */
export interface CallbackContext {
  /**
   * Aborted after `callbackTimeoutMs`, `stopTimeoutMs` after the client was stopped, and when the manager shuts down. End
   * the work then: the event may be delivered again.
   */
  readonly signal: AbortSignal;
}

/**
 * Receives a user's events. A returned promise is awaited before the callback gets the room's next event. A call that
 * takes longer than `callbackTimeoutMs` counts as failed; the callback may then be called again while it still runs.
 */
export type ClientCallback = (event: ClientEvent, context: CallbackContext) => void | Promise<void>;

export interface CallbackOptions {
  /**
   * Which events to deliver: kinds (`message`, `typing` ...), event types (`m.room.message`, `order_update` ...), and
   * prefixes of event types (`m.call.*`).
   * @default all but `unread`, which comes with nearly every message
   */
  readonly types?: readonly string[] | undefined;
  /** The rooms whose events to deliver. @default all */
  readonly rooms?: readonly string[] | undefined;
  /**
   * Whether to deliver older events, too: those that the first sync on the user's device returns, and those before the
   * user's join in a room that the user joins later.
   * @default false
   */
  readonly backlog?: boolean | undefined;
}

/** The options of a callback for the events of several users. */
export interface ManagerCallbackOptions extends CallbackOptions {
  /** Full user ids of the users whose events to deliver. @default all users of the manager */
  readonly users?: readonly string[] | undefined;
}

/** An entry of the option `callbacks`: a callback, or a callback with its options. */
export type ManagerCallback = ClientCallback | (ManagerCallbackOptions & { readonly callback: ClientCallback });

/** The schemas of {@link CallbackOptions}. */
export const callbackOptions = {
  types: v.optional(eventTypeList(clientEventTypes)),
  rooms: v.optional(listOf(roomId)),
  backlog: v.optional(flag),
};

const managerCallbackOptions = { ...callbackOptions, users: v.optional(listOf(userId)) };

const callbackSchema = optionsOf<CallbackOptions>(callbackOptions);
const managerCallbackSchema = optionsOf<ManagerCallbackOptions>(managerCallbackOptions);
const callbackWithOptions = optionsOf<Exclude<ManagerCallback, ClientCallback>>({
  callback: functionOf<ClientCallback>(),
  ...managerCallbackOptions,
});

/** The schema of the option `callbacks`. */
export const managerCallbackList: Schema<ManagerCallback[]> = listOf<ManagerCallback>(
  v.lazy((entry): Schema<ManagerCallback> => (isObject(entry) ? callbackWithOptions : callbackOnly)),
);

const callbackOnly = checkedAs<ClientCallback>(
  'a function, or an object with `callback`',
  (value) => typeof value === 'function',
);

/** The options of one registration: which events the callback gets. */
export class CallbackFilter {
  readonly #types: EventTypes | undefined;
  readonly #rooms: ReadonlySet<string> | undefined;
  readonly #users: ReadonlySet<string> | undefined;
  readonly wantsBacklog: boolean;

  private constructor({ types, rooms, users, backlog = false }: ManagerCallbackOptions) {
    this.#types = types && new EventTypes(types);
    this.#rooms = rooms && new Set(rooms);
    this.#users = users && new Set(users);
    this.wantsBacklog = backlog;
  }

  /** Checks the options of `addCallback()`. Throws `INVALID_OPTIONS`. */
  static forOneUser(options: CallbackOptions = {}): CallbackFilter {
    return new CallbackFilter(checkOptions('addCallback()', callbackSchema, options));
  }

  /** Checks the options of `onEvent()`. Throws `INVALID_OPTIONS`, or `INVALID_USER_ID`. */
  static forUsers(options: ManagerCallbackOptions = {}): CallbackFilter {
    return new CallbackFilter(checkOptions('onEvent()', managerCallbackSchema, options));
  }

  isFor(user: string): boolean {
    return !this.#users || this.#users.has(user);
  }

  matches(event: ClientEvent): boolean {
    if (event.provenance === 'backlog' && !this.wantsBacklog) return false;
    if (!this.isFor(event.userId)) return false;
    if (this.#rooms && !this.#rooms.has(event.roomId)) return false;
    if (!this.#types) return event.type !== 'unread';
    return this.#types.hasKind(event.type) || ('eventType' in event && this.#types.has(event.eventType));
  }
}
