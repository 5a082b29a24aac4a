/** A map of the entries that were set last, up to a limit. For data whose loss only causes repeated work. */
export class RecentMap<Value> extends Map<string, Value> {
  readonly #limit: number;

  constructor(limit: number) {
    super();
    this.#limit = limit;
  }

  override set(key: string, value: Value): this {
    this.delete(key); // moves the entry to the end, as the newest
    super.set(key, value);
    if (this.size > this.#limit) this.delete(this.keys().next().value as string);
    return this;
  }
}
