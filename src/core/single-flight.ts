/** Runs one call per key at a time; whoever asks meanwhile gets the same promise. */
export class SingleFlight<T> {
  readonly #running = new Map<string, Promise<T>>();

  run(key: string, fly: () => Promise<T>): Promise<T> {
    const running = this.#running.get(key);
    if (running) return running;
    const flight = fly().finally(() => this.#running.delete(key));
    this.#running.set(key, flight);
    return flight;
  }

  /** Resolves when nothing flies any more, however the flights end. */
  async whenIdle(): Promise<void> {
    await Promise.allSettled(this.#running.values());
  }
}
