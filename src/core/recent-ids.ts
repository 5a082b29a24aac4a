/** A set of the ids that were added last, up to a limit. Detects duplicates, which always arrive soon after the first. */
export class RecentIds extends Set<string> {
  readonly #limit: number;

  constructor(limit: number) {
    super();
    this.#limit = limit;
  }

  override add(id: string): this {
    super.add(id);
    if (this.size > this.#limit) this.delete(this.values().next().value as string);
    return this;
  }
}
