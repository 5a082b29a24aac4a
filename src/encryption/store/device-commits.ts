import type { KeyChange } from '../../core/ports/key-store.js';

/**
 * The order of one device's commits: one at a time, and the changes that wait for it are stored together by the next.
 * After a failed commit every later one is refused, because it would build on a state that is not stored.
 */
export class DeviceCommits {
  readonly #write: (changes: readonly KeyChange[]) => Promise<number>;
  #waiting: KeyChange[] = [];
  /** Ends with the running commit. Never rejects. */
  #running: Promise<void> | undefined;
  /** The commit of the waiting changes. */
  #next: Promise<number> | undefined;
  #failure: { readonly error: unknown } | undefined;

  /** @param write - stores changes in one transaction; resolves to the device's number of commits */
  constructor(write: (changes: readonly KeyChange[]) => Promise<number>) {
    this.#write = write;
  }

  commit(changes: readonly KeyChange[]): Promise<number> {
    this.#waiting.push(...changes);
    if (this.#next) return this.#next;
    if (!this.#running) return this.#run();
    this.#next = this.#running.then(() => {
      this.#next = undefined;
      return this.#run();
    });
    return this.#next;
  }

  /** Resolves when no commit runs or waits. */
  async idle(): Promise<void> {
    while (this.#next ?? this.#running) await (this.#next?.catch(() => {}) ?? this.#running);
  }

  #run(): Promise<number> {
    const commit = this.#store(mergeChanges(this.#waiting.splice(0)));
    const running = commit.then(
      () => {},
      () => {}, // the callers of commit() handle it
    );
    this.#running = running;
    void running.then(() => {
      if (this.#running === running) this.#running = undefined;
    });
    return commit;
  }

  async #store(changes: readonly KeyChange[]): Promise<number> {
    if (this.#failure) throw this.#failure.error;
    try {
      return await this.#write(changes);
    } catch (error) {
      this.#failure = { error };
      throw error;
    }
  }
}

/** Keeps only the last change of each record. Changes of a schema are not merged. */
function mergeChanges(changes: readonly KeyChange[]): readonly KeyChange[] {
  if (changes.length === 1 || changes.some(([, { schema }]) => schema)) return changes;
  const byName = Map.groupBy(changes, ([name]) => name);
  return [...byName].map(([name, all]) => {
    const records = all.flatMap(([, change]) => change.records);
    const last = new Map(records.map((record) => [JSON.stringify([record.store, record.key]), record]));
    return [name, { records: [...last.values()] }];
  });
}
