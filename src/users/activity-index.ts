/** Users in the order of their last activity. */
export class ActivityIndex {
  /** A Map keeps the order of insertion, and every touch deletes and inserts the user again. */
  readonly #lastActivity = new Map<string, number>();

  get size(): number {
    return this.#lastActivity.size;
  }

  /** @param at - must not be earlier than in any call before */
  touch(userId: string, at: number): void {
    this.#lastActivity.delete(userId);
    this.#lastActivity.set(userId, at);
  }

  delete(userId: string): void {
    this.#lastActivity.delete(userId);
  }

  /** The least recently active user. */
  oldest(): string | undefined {
    return this.#lastActivity.keys().next().value;
  }
}
