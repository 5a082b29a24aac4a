/** Runs one call per key at a time; whoever asks meanwhile gets the same promise. */
export class SingleFlight<T> {
  readonly #flights = new Map<string, Promise<T>>();

  run(key: string, fly: () => Promise<T>): Promise<T> {
    const running = this.#flights.get(key);
    if (running) return running;
    const flight = fly().finally(() => this.#flights.delete(key));
    this.#flights.set(key, flight);
    return flight;
  }

  /** Resolves when nothing flies any more, however the flights end. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#flights.values());
  }
}
