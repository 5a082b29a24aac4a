import type { DeliveredPosition } from '../storage/checkpoint.js';

/** One event of a room on its way through the callbacks, or a mark between two events. */
export interface Step {
  /** Where the room stands after it, null for nowhere; undefined where the room must not stand there. */
  readonly position: DeliveredPosition | null | undefined;
  handled: boolean;
}

/** How far one room's events have been handled: up to the last one with none unhandled before it. */
export class RoomProgress {
  #steps: Step[] = [];
  /** How many of the first steps have been taken; they are let go together, so that a step costs the same in any room. */
  #taken = 0;

  get isEmpty(): boolean {
    return this.#steps.length === 0;
  }

  push(step: Step): void {
    this.#steps.push(step);
  }

  /** The position that was reached since it was last asked; undefined when it is the same. */
  take(): DeliveredPosition | null | undefined {
    let reached: DeliveredPosition | null | undefined;
    for (let next = this.#steps.at(this.#taken); next?.handled; next = this.#steps.at(this.#taken)) {
      if (next.position !== undefined) reached = next.position;
      this.#taken++;
    }
    if (this.#taken * 2 >= this.#steps.length) {
      this.#steps = this.#steps.slice(this.#taken);
      this.#taken = 0;
    }
    return reached;
  }
}
