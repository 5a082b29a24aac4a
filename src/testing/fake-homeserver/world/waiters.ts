/** The waiting long polls by user. */
export class Waiters {
  readonly #byUser = new Map<string, Set<() => void>>();

  /** Calls `wake` at every change that may concern `userId`, until the returned disposer is called. */
  add(userId: string, wake: () => void): () => void {
    const waiting = this.#byUser.get(userId) ?? new Set();
    this.#byUser.set(userId, waiting.add(wake));
    return () => {
      waiting.delete(wake);
      if (waiting.size === 0 && this.#byUser.get(userId) === waiting) this.#byUser.delete(userId);
    };
  }

  wake(userId: string): void {
    for (const wake of this.#byUser.get(userId) ?? []) wake();
  }

  /** Wakes the waiting long polls of `userIds`. Iterates over the smaller of the two sets. */
  wakeAll(userIds: ReadonlySet<string>): void {
    if (userIds.size > this.#byUser.size) {
      for (const userId of this.#byUser.keys()) if (userIds.has(userId)) this.wake(userId);
    } else {
      for (const userId of userIds) this.wake(userId);
    }
  }
}
