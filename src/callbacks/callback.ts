import * as v from 'valibot';
import { clientEventTypes, isTimelineEvent, timelineEventTypes } from '../core/client-event.js';
import type { ClientEvent } from '../core/client-event.js';
import { invalidOptions } from '../core/errors.js';
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
   * @default all but `unread` and `presence`, which come often and cost the homeserver much
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
  /**
   * Whether the callback gets each event of a timeline once, instead of once for each user who sees it. Over crashes it
   * gets each at least once. It gets no other events: `types` must not name kinds such as `typing`.
   * @default false
   */
  readonly once?: boolean | undefined;
}

/** An entry of the option `callbacks`: a callback, or a callback with its options. */
export type ManagerCallback = ClientCallback | (ManagerCallbackOptions & { readonly callback: ClientCallback });

/** The schemas of {@link CallbackOptions}. */
export const callbackOptions = {
  types: v.optional(eventTypeList(clientEventTypes)),
  rooms: v.optional(listOf(roomId)),
  backlog: v.optional(flag),
};

const managerCallbackOptions = { ...callbackOptions, users: v.optional(listOf(userId)), once: v.optional(flag) };

const callbackSchema = optionsOf<CallbackOptions>(callbackOptions);
const managerCallbackSchema = withOnceTypes(optionsOf<ManagerCallbackOptions>(managerCallbackOptions));
const callbackWithOptions = withOnceTypes(
  optionsOf<Exclude<ManagerCallback, ClientCallback>>({
    callback: functionOf<ClientCallback>(),
    ...managerCallbackOptions,
  }),
);

/** The schema of the option `callbacks`. */
export const managerCallbackList: Schema<ManagerCallback[]> = listOf<ManagerCallback>(
  v.lazy((entry): Schema<ManagerCallback> => (isObject(entry) ? callbackWithOptions : callbackOnly)),
);

const callbackOnly = checkedAs<ClientCallback>(
  'a function, or an object with `callback`',
  (value) => typeof value === 'function',
);

/** With `once`, refuses kinds of events that have no id by which a second copy is recognised. */
function withOnceTypes<T extends ManagerCallbackOptions>(schema: Schema<T>): Schema<T> {
  return v.pipe(
    schema,
    v.transform((options) => {
      const kind = options.once ? options.types?.find((type) => !canBeOnce(type)) : undefined;
      if (kind === undefined) return options;
      throw invalidOptions(`expected \`types\` with \`once\` to name events of timelines, got ${kind}`);
    }),
  );
}

function canBeOnce(type: string): boolean {
  const kinds: readonly string[] = clientEventTypes;
  const inTimelines: readonly string[] = timelineEventTypes;
  return !kinds.includes(type) || inTimelines.includes(type);
}

/** The options of one registration: which events the callback gets. */
export class CallbackFilter {
  readonly #types: EventTypes | undefined;
  readonly #rooms: ReadonlySet<string> | undefined;
  readonly #users: ReadonlySet<string> | undefined;
  readonly wantsBacklog: boolean;
  /** Whether only events of timelines match, each for one user. */
  readonly once: boolean;
  /** With `once`: the same for filters of the same options. */
  readonly key: string | undefined;

  private constructor(options: ManagerCallbackOptions) {
    const { types, rooms, users, backlog = false, once = false } = options;
    this.once = once;
    this.key = once ? keyOf(options) : undefined;
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

  /** Whether presence events match. */
  get wantsPresence(): boolean {
    return this.#rooms === undefined && this.#types?.hasKind('presence') === true;
  }

  matches(event: ClientEvent): boolean {
    if (event.provenance === 'backlog' && !this.wantsBacklog) return false;
    if (!this.isFor(event.userId)) return false;
    if (this.once && !isTimelineEvent(event)) return false;
    if (this.#rooms && (event.roomId === undefined || !this.#rooms.has(event.roomId))) return false;
    if (!this.#types) return event.type !== 'unread' && event.type !== 'presence';
    return this.#types.hasKind(event.type) || ('eventType' in event && this.#types.has(event.eventType));
  }
}

function keyOf({ types, rooms, users, backlog = false }: ManagerCallbackOptions): string {
  const lists = [types, rooms, users].map((list) => list && [...new Set(list)].toSorted());
  return JSON.stringify([...lists, backlog]);
}
