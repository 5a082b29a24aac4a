/** Users sorted by the time of their next review. The cost of `takeDue` grows with the due users, not with all. */
export class ReviewQueue {
  readonly #slotMs: number;
  readonly #slots = new Map<number, Set<string>>();
  readonly #times = new Map<string, number>();

  /** @param slotMs - length of the time slots that users are grouped by, in milliseconds. Due times stay exact. */
  constructor(slotMs: number) {
    this.#slotMs = slotMs;
  }

  get size(): number {
    return this.#times.size;
  }

  has(userId: string): boolean {
    return this.#times.has(userId);
  }

  /** Schedules the user's review at the given time. Replaces a time that was set before. */
  schedule(userId: string, at: number): void {
    this.cancel(userId);
    const slot = this.#slot(at);
    const users = this.#slots.get(slot) ?? new Set();
    this.#slots.set(slot, users);
    users.add(userId);
    this.#times.set(userId, at);
  }

  cancel(userId: string): void {
    const at = this.#times.get(userId);
    if (at === undefined) return;
    this.#times.delete(userId);
    const slot = this.#slot(at);
    const users = this.#slots.get(slot);
    users?.delete(userId);
    if (users?.size === 0) this.#slots.delete(slot);
  }

  clear(): void {
    this.#slots.clear();
    this.#times.clear();
  }

  /** Removes and returns the users that are due at `now`. */
  takeDue(now: number): string[] {
    const due: string[] = [];
    for (const [slot, users] of this.#slots) {
      if (slot > this.#slot(now)) continue;
      for (const userId of users) if ((this.#times.get(userId) ?? 0) <= now) due.push(userId);
    }
    for (const userId of due) this.cancel(userId);
    return due;
  }

  #slot(at: number): number {
    return Math.floor(at / this.#slotMs);
  }
}
