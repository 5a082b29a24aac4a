import type { Clock, TimerHandle } from '../../../core/clock.js';

/** The users who are typing in a room. */
export class Typing {
  readonly #timers = new Map<string, TimerHandle>();

  /** Position of the last change; 0 when nobody has ever typed. */
  lastStream = 0;

  get userIds(): string[] {
    return [...this.#timers.keys()];
  }

  /**
   * @param timeoutMs - after this time the user stops typing; undefined stops at once
   * @param onExpired - called when that time has passed
   * @returns whether the list of typing users has changed
   */
  set(clock: Clock, userId: string, timeoutMs: number | undefined, onExpired: () => void): boolean {
    const was = this.#timers.has(userId);
    if (was) clock.clearTimeout(this.#timers.get(userId));
    this.#timers.delete(userId);
    if (timeoutMs === undefined) return was;
    const timer = clock.setTimeout(() => {
      this.#timers.delete(userId);
      onExpired();
    }, timeoutMs);
    this.#timers.set(userId, timer);
    return !was;
  }

  /** Removes all users and their timers. */
  clear(clock: Clock): void {
    for (const timer of this.#timers.values()) clock.clearTimeout(timer);
    this.#timers.clear();
  }
}
