import { assertKnownOptions } from '../core/validation.js';
import { clientEventTypes } from '../core/client-event.js';
import type { ClientEvent } from '../core/client-event.js';
import { MatrixClientManagerError } from '../core/errors.js';
import { EventTypes, isEventTypeOrPrefix } from '../core/event-types.js';
import { assertRoomId, describe } from '../core/ids.js';
import { isObject } from '../core/raw-event.js';

/** The second argument of a callback. */
export interface CallbackContext {
  /**
   * Aborted when the manager stops waiting for this call: after `callbackTimeoutMs`, or `stopTimeoutMs` after its
   * client was stopped. End the work then, because the callback will be called with the event again.
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
  /** Whether to deliver the events of the first sync on the user's device, too. @default false */
  readonly backlog?: boolean | undefined;
}

/** The options of one registration: which of the user's events the callback gets. */
export class CallbackFilter {
  readonly #types: EventTypes | undefined;
  readonly #rooms: ReadonlySet<string> | undefined;
  readonly wantsBacklog: boolean;

  constructor(options: CallbackOptions = {}) {
    if (!isObject(options)) throw invalid(`expected callback options to be an object, got ${describe(options)}`);
    assertKnownOptions('addCallback()', options, ['types', 'rooms', 'backlog']);
    const { types, rooms, backlog = false } = options;
    if (types !== undefined && !Array.isArray(types)) {
      throw invalid(`expected \`types\` to be a list, got ${describe(types)}`);
    }
    if (rooms !== undefined && !Array.isArray(rooms)) {
      throw invalid(`expected \`rooms\` to be a list, got ${describe(rooms)}`);
    }
    this.#types = types && new EventTypes(types.map(checkType));
    rooms?.forEach((roomId) => assertRoomId(roomId));
    this.#rooms = rooms && new Set(rooms);
    if (typeof backlog !== 'boolean') throw invalid(`expected \`backlog\` to be a boolean, got ${describe(backlog)}`);
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

export function assertCallback(callback: unknown): asserts callback is ClientCallback {
  if (typeof callback !== 'function') throw invalid(`expected a callback to be a function, got ${describe(callback)}`);
}

function checkType(type: unknown): string {
  if (isEventTypeOrPrefix(type)) return type;
  const known = clientEventTypes.join(', ');
  throw invalid(`expected \`types\` to contain ${known}, event types or prefixes like m.call.*, got ${describe(type)}`);
}

function invalid(message: string): MatrixClientManagerError {
  return new MatrixClientManagerError('INVALID_OPTIONS', message);
}
