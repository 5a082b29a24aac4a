import * as v from 'valibot';
import { clientEventTypes } from '../core/client-event.js';
import type { ClientEvent } from '../core/client-event.js';
import { eventTypeList, EventTypes } from '../core/event-types.js';
import { checkOptions, flag, listOf, optionsOf, roomId } from '../core/validation.js';

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
   * @default all
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

/** The schemas of {@link CallbackOptions}. */
export const callbackOptions = {
  types: v.optional(eventTypeList(clientEventTypes)),
  rooms: v.optional(listOf(roomId)),
  backlog: v.optional(flag),
};

const callbackSchema = optionsOf<CallbackOptions>(callbackOptions);

/** The options of one registration: which of the user's events the callback gets. */
export class CallbackFilter {
  readonly #types: EventTypes | undefined;
  readonly #rooms: ReadonlySet<string> | undefined;
  readonly wantsBacklog: boolean;

  constructor(options: CallbackOptions = {}) {
    const { types, rooms, backlog = false } = checkOptions('addCallback()', callbackSchema, options);
    this.#types = types && new EventTypes(types);
    this.#rooms = rooms && new Set(rooms);
    this.wantsBacklog = backlog;
  }

  matches(event: ClientEvent): boolean {
    if (event.provenance === 'backlog' && !this.wantsBacklog) return false;
    if (this.#rooms && !this.#rooms.has(event.roomId)) return false;
    return (
      !this.#types || this.#types.hasKind(event.type) || ('eventType' in event && this.#types.has(event.eventType))
    );
  }
}
