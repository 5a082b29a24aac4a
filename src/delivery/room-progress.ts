import type { DeliveredPosition } from '../storage/checkpoint.js';

/** One event of a room on its way through the callbacks, or a mark between two events. */
export interface Step {
  /** Where the room stands after it, null for nowhere; undefined where the room must not stand there. */
  readonly position: DeliveredPosition | null | undefined;
  handled: boolean;
}

/** How far one room's events have been handled: up to the last one with none unhandled before it. */
export class RoomProgress {
  readonly #steps: Step[] = [];

  get isEmpty(): boolean {
    return this.#steps.length === 0;
  }

  push(step: Step): void {
    this.#steps.push(step);
  }

  /** The position that was reached since it was last asked; undefined when it is the same. */
  take(): DeliveredPosition | null | undefined {
    const unhandled = this.#steps.findIndex(({ handled }) => !handled);
    const handled = this.#steps.splice(0, unhandled === -1 ? this.#steps.length : unhandled);
    return handled.findLast(({ position }) => position !== undefined)?.position;
  }
}
