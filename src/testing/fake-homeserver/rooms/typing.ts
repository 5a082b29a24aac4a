import type { Clock, TimerHandle } from '../../../core/clock.js';

/** Who is typing in a room. */
export class Typing {
  readonly #timers = new Map<string, TimerHandle>();

  /** Position of the last change; 0 when nobody has ever typed. */
  lastStream = 0;

  get userIds(): string[] {
    return [...this.#timers.keys()];
  }

  /**
   * @param timeoutMs - after how long the user counts as having stopped; undefined stops at once
   * @param onExpired - called when that time is up
   * @returns whether who types has changed
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

  /** Forgets everyone and leaves no timer. */
  clear(clock: Clock): void {
    for (const timer of this.#timers.values()) clock.clearTimeout(timer);
    this.#timers.clear();
  }
}
