/** The users whose clients may be evicted, in the order of their last activity. */
export class EvictionOrder {
  /**
   * Users who were not active since their client was started ahead of a usual hour. Their clients are evicted first.
   */
  readonly #inactive = new Set<string>();
  /** A Set keeps the order of insertion. */
  readonly #active = new Set<string>();

  get size(): number {
    return this.#inactive.size + this.#active.size;
  }

  /** Puts the user last: their client may be evicted, and they were active just now. */
  addLast(userId: string): void {
    this.delete(userId);
    this.#active.add(userId);
  }

  /** Puts the user before all who were active. */
  addInactive(userId: string): void {
    this.delete(userId);
    this.#inactive.add(userId);
  }

  delete(userId: string): void {
    this.#inactive.delete(userId);
    this.#active.delete(userId);
  }

  /** The user whose client is evicted first. */
  first(): string | undefined {
    return (this.#inactive.size > 0 ? this.#inactive : this.#active).keys().next().value;
  }
}
