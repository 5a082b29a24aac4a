import { firstAfter } from '../world/stream.js';
import type { RoomEvent } from './room-event.js';

/** State events by type and state key. */
export class StateMap {
  readonly #byType = new Map<string, Map<string, RoomEvent>>();

  get(type: string, stateKey = ''): RoomEvent | undefined {
    return this.#byType.get(type)?.get(stateKey);
  }

  set(event: RoomEvent): void {
    const byKey = this.#byType.get(event.type) ?? new Map<string, RoomEvent>();
    this.#byType.set(event.type, byKey.set(event.stateKey ?? '', event));
  }

  delete(type: string, stateKey: string): void {
    this.#byType.get(type)?.delete(stateKey);
  }

  /** The events of one type, in the order in which their state keys were first set. */
  ofType(type: string): RoomEvent[] {
    return [...(this.#byType.get(type)?.values() ?? [])];
  }

  /** All events, except those of one type if it is given. */
  all(exceptType?: string): RoomEvent[] {
    const events: RoomEvent[] = [];
    for (const [type, byKey] of this.#byType) if (type !== exceptType) events.push(...byKey.values());
    return events;
  }
}

/** The state of a room, now and at any earlier position. */
export class RoomState {
  readonly current = new StateMap();
  readonly #log: RoomEvent[] = [];

  add(event: RoomEvent): void {
    this.current.set(event);
    this.#log.push(event);
  }

  /** The state events after `position` up to `end`, in order. */
  between(position: number, end: number): RoomEvent[] {
    return this.#log.slice(firstAfter(this.#log, position), firstAfter(this.#log, end));
  }

  /** The state at `position`. Its cost grows with the size of the state, unless the state is still current. */
  at(position: number): StateMap {
    if ((this.#log.at(-1)?.stream ?? 0) <= position) return this.current;
    const state = new StateMap();
    for (const event of this.current.all()) state.set(event);
    for (const event of this.#log.slice(firstAfter(this.#log, position)).toReversed()) {
      if (event.replaces) state.set(event.replaces);
      else state.delete(event.type, event.stateKey ?? '');
    }
    return state;
  }
}
