/** Users in the order of their last activity. */
export class ActivityIndex {
  /** In order: a Map keeps the order of insertion, and every touch inserts anew. */
  readonly #lastActivity = new Map<string, number>();

  get size(): number {
    return this.#lastActivity.size;
  }

  /** @param at - not before the time of any earlier touch */
  touch(userId: string, at: number): void {
    this.#lastActivity.delete(userId);
    this.#lastActivity.set(userId, at);
  }

  delete(userId: string): void {
    this.#lastActivity.delete(userId);
  }

  /** The user who has been inactive for longest. */
  oldest(): string | undefined {
    return this.#lastActivity.keys().next().value;
  }
}
