import type { Subscription } from './subscription.js';

/** An event of which copies are under way to the callbacks of one group. */
export interface EventProgress {
  readonly key: string;
  /** The callbacks that have not finished it, and how many copies are under way to each. */
  readonly unfinished: Map<Subscription, number>;
  isFinishedByOne: boolean;
}

/**
 * Which callbacks of a group have not finished an event. All that were given a copy have to finish it, also those that
 * were removed since: the user's position does not move past an event that a removed callback was stopped in, so the next
 * process delivers it again. The next copy is given to the callbacks that are registered then.
 */
export class OnceProgress {
  readonly #underWay = new Map<string, EventProgress>();

  /** A copy is under way to the callback. @param isFinished - whether the callback has finished the event before */
  begin(key: string, subscription: Subscription, isFinished: boolean): EventProgress {
    const progress = this.#underWay.get(key) ?? { key, unfinished: new Map(), isFinishedByOne: false };
    this.#underWay.set(key, progress);
    const { unfinished } = progress;
    if (isFinished) progress.isFinishedByOne = true;
    else unfinished.set(subscription, (unfinished.get(subscription) ?? 0) + 1);
    return progress;
  }

  /** The callback has finished the event. Returns whether all have, so that it is to be stored as handled. */
  finish(progress: EventProgress, subscription: Subscription): boolean {
    progress.isFinishedByOne = true;
    progress.unfinished.delete(subscription);
    return this.#endIfIdle(progress);
  }

  /**
   * The callback does not finish a copy. Returns the same as {@link finish}.
   * @param isRepeated - whether the event has to be delivered again
   */
  giveUp(progress: EventProgress, subscription: Subscription, isRepeated: boolean): boolean {
    const { unfinished } = progress;
    const others = (unfinished.get(subscription) ?? 0) - 1; // further copies to the same callback
    if (others > 0 || (others === 0 && isRepeated)) unfinished.set(subscription, others);
    else unfinished.delete(subscription);
    return this.#endIfIdle(progress);
  }

  /** The event is stored as handled. */
  end(progress: EventProgress): void {
    if (this.#underWay.get(progress.key) === progress) this.#underWay.delete(progress.key);
  }

  /** Ends all: none of them is to be stored any more. */
  clear(): void {
    this.#underWay.clear();
  }

  #endIfIdle(progress: EventProgress): boolean {
    const { key, unfinished, isFinishedByOne } = progress;
    if (this.#underWay.get(key) !== progress) return false; // ended before
    for (const copies of unfinished.values()) if (copies > 0) return false;
    this.#underWay.delete(key);
    return unfinished.size === 0 && isFinishedByOne;
  }
}
