import type { DeliveredPosition } from '../storage/checkpoint.js';

/** One event of a room on its way through the callbacks, or a mark between two events. */
export interface Step {
  readonly roomId: string;
  /** Undefined for a mark. */
  readonly eventId: string | undefined;
  /** Where the room stands after it, null for nowhere; undefined where its being handled moves the room no further. */
  readonly position: DeliveredPosition | null | undefined;
  /** Whether it ends what is behind: then it and all before it need the journal no more. */
  readonly ends: boolean;
  handled: boolean;
  journaled: boolean;
}

/** What has changed in a room since it was last asked. */
export interface RoomChange {
  readonly position: DeliveredPosition | null | undefined;
  /** Events handled while one before them is not. */
  readonly add: readonly string[];
  /** Events of the journal that the position covers now. */
  readonly prune: readonly string[];
}

/**
 * How far one room's events have been handled. The position stands behind the last one with none unhandled before it;
 * what was handled beyond, by a callback that wants other events than a slower one, goes to the journal.
 */
export class RoomProgress {
  readonly #steps: Step[] = [];
  #fresh: Step[] = [];

  get isEmpty(): boolean {
    return this.#steps.length === 0;
  }

  push(step: Step): void {
    this.#steps.push(step);
  }

  handled(step: Step): void {
    step.handled = true;
    this.#fresh.push(step);
  }

  take(): RoomChange {
    const passed = this.#steps.splice(0, this.#covered());
    const fresh = this.#fresh;
    this.#fresh = [];
    const behind = new Set(passed);
    const add = fresh.filter((step) => step.eventId !== undefined && !step.journaled && !behind.has(step));
    for (const step of add) step.journaled = true;
    return {
      position: passed.findLast(({ position }) => position !== undefined)?.position,
      add: idsOf(add),
      prune: idsOf(passed.filter(({ journaled }) => journaled)),
    };
  }

  /** How many steps from the oldest on are handled, up to one that ends what is behind. */
  #covered(): number {
    let covered = 0;
    for (const [index, { handled, ends }] of this.#steps.entries()) {
      if (!handled) break;
      if (ends) covered = index + 1;
    }
    return covered;
  }
}

function idsOf(steps: readonly Step[]): string[] {
  return steps.flatMap(({ eventId }) => eventId ?? []);
}
