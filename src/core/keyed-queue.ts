/** Runs what is queued under one key in order, one at a time; keys do not wait for each other. */
export class KeyedQueue {
  readonly #tails = new Map<string, Promise<void>>();

  /** How many keys have something running or waiting. */
  get size(): number {
    return this.#tails.size;
  }

  run<T>(key: string, task: () => Promise<T>): Promise<T> {
    // Never begun in here: what a task queues under its own key would run beside it, before its place is taken.
    const result = (this.#tails.get(key) ?? Promise.resolve()).then(task);
    const tail = result
      .then(
        () => undefined,
        () => undefined, // the caller handles the failure; the queue goes on
      )
      .then(() => {
        if (this.#tails.get(key) === tail) this.#tails.delete(key);
      });
    this.#tails.set(key, tail);
    return result;
  }

  /** Resolves when all that is queued now has run. */
  async settled(): Promise<void> {
    await Promise.all(this.#tails.values());
  }
}
