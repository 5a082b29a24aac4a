/** Users by the time at which something has to be decided about them. Looking costs what is due, not what is queued. */
export class ReviewQueue {
  readonly #slotMs: number;
  readonly #slots = new Map<number, Set<string>>();
  readonly #times = new Map<string, number>();

  /** @param slotMs - times are sorted into slots of this length, in milliseconds; they are kept exactly all the same */
  constructor(slotMs: number) {
    this.#slotMs = slotMs;
  }

  get size(): number {
    return this.#times.size;
  }

  has(userId: string): boolean {
    return this.#times.has(userId);
  }

  /** Puts the user in, in the place of an earlier time. */
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

  /** Takes out who is due at `now`. */
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
