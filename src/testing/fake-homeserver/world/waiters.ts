/** The long polls that wait for something to happen to a user. */
export class Waiters {
  readonly #byUser = new Map<string, Set<() => void>>();

  /** Calls `wake` at everything that may concern `userId`, until the returned disposer is called. */
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

  /** Wakes those of `userIds` who wait; costs what the smaller side has. */
  wakeAll(userIds: ReadonlySet<string>): void {
    if (userIds.size > this.#byUser.size) {
      for (const userId of this.#byUser.keys()) if (userIds.has(userId)) this.wake(userId);
    } else {
      for (const userId of userIds) this.wake(userId);
    }
  }
}
