/**
 * The time at which each user is due. Users are grouped into buckets of `bucketMs`, so that `takeDue` looks only into
 * buckets whose time has come.
 */
export class DueTimes {
  readonly #bucketMs: number;
  readonly #buckets = new Map<number, Set<string>>();
  readonly #times = new Map<string, number>();

  /** @param bucketMs - length of a bucket, in milliseconds. Due times stay exact. */
  constructor(bucketMs: number) {
    this.#bucketMs = bucketMs;
  }

  get size(): number {
    return this.#times.size;
  }

  has(userId: string): boolean {
    return this.#times.has(userId);
  }

  /**
   * Sets the time at which the user is due, in milliseconds since the Unix epoch. Replaces a time that was set before.
   */
  schedule(userId: string, at: number): void {
    this.cancel(userId);
    const bucket = this.#bucketOf(at);
    const users = this.#buckets.get(bucket) ?? new Set();
    this.#buckets.set(bucket, users);
    users.add(userId);
    this.#times.set(userId, at);
  }

  cancel(userId: string): void {
    const at = this.#times.get(userId);
    if (at === undefined) return;
    this.#times.delete(userId);
    const bucket = this.#bucketOf(at);
    const users = this.#buckets.get(bucket);
    users?.delete(userId);
    if (users?.size === 0) this.#buckets.delete(bucket);
  }

  clear(): void {
    this.#buckets.clear();
    this.#times.clear();
  }

  /** Removes and returns the users that are due at `now`, in no particular order. */
  takeDue(now: number): string[] {
    const due: string[] = [];
    for (const [bucket, users] of this.#buckets) {
      if (bucket > this.#bucketOf(now)) continue;
      for (const userId of users) if ((this.#times.get(userId) ?? 0) <= now) due.push(userId);
    }
    for (const userId of due) this.cancel(userId);
    return due;
  }

  #bucketOf(at: number): number {
    return Math.floor(at / this.#bucketMs);
  }
}
