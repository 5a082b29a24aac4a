/** Counts what happens in each second from its making on. */
export class PerSecond {
  readonly #from = performance.now();
  readonly #counts: number[] = [];

  count(times = 1): void {
    const second = Math.floor((performance.now() - this.#from) / 1_000);
    this.#counts[second] = (this.#counts[second] ?? 0) + times;
  }

  /** One number for each second that is over, zeros included. */
  get counts(): number[] {
    const seconds = Math.round((performance.now() - this.#from) / 1_000);
    return Array.from({ length: seconds }, (_, second) => this.#counts[second] ?? 0);
  }
}
