import type { DeliveredPosition } from '../storage/checkpoint.js';

/**
 * An entry in a room's list: an event, done once it is handled, or a change of the position, done once its batch is. A
 * position is reached when all entries up to it are done.
 */
export interface Step {
  /** The room's position after this step; null deletes the position, undefined leaves it unchanged. */
  readonly position: DeliveredPosition | null | undefined;
  isDone: boolean;
}

/** Tracks one room's position: the last one before the first entry that is not done. */
export class RoomProgress {
  #steps: Step[] = [];
  /**
   * How many leading steps are done. They are removed in bulk, so that the cost per step does not grow with the list.
   */
  #taken = 0;

  get isEmpty(): boolean {
    return this.#steps.length === 0;
  }

  push(step: Step): void {
    this.#steps.push(step);
  }

  /** Returns the room's position if it has changed since the last call, else undefined. */
  takePosition(): DeliveredPosition | null | undefined {
    let reached: DeliveredPosition | null | undefined;
    for (let next = this.#steps.at(this.#taken); next?.isDone; next = this.#steps.at(this.#taken)) {
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
