/** Runs at most one call per key at a time. Concurrent callers of the same key share its promise. */
export class SingleFlight<T> {
  readonly #running = new Map<string, Promise<T>>();

  run(key: string, start: () => Promise<T>): Promise<T> {
    const current = this.#running.get(key);
    if (current) return current;
    const promise = start().finally(() => this.#running.delete(key));
    this.#running.set(key, promise);
    return promise;
  }

  /** Resolves when the calls that run now have ended, successfully or not. */
  async whenIdle(): Promise<void> {
    await Promise.allSettled(this.#running.values());
  }
}
