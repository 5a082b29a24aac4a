import { orAborted, throwIfAborted } from '../core/abort.js';

/** Admits a limited number at a time. Those beyond the limit wait in the order of their arrival. */
export class Semaphore {
  readonly #limit: number;
  readonly #evictOne: () => Promise<unknown> | undefined;
  readonly #waiters = new Set<() => void>();
  #occupied = 0;
  #evicting = 0;

  /**
   * @param evictOne - called once per waiter; stops one that was admitted and resolves when it has stopped. Returns
   * undefined if none can be stopped now. @default none
   */
  constructor(limit: number, evictOne: () => Promise<unknown> | undefined = () => undefined) {
    this.#limit = limit;
    this.#evictOne = evictOne;
  }

  /** How many are waiting. */
  get waiting(): number {
    return this.#waiters.size;
  }

  /** Whether the next one would have to wait. */
  get isFull(): boolean {
    return this.#occupied >= this.#limit || this.#waiters.size > 0;
  }

  /** Resolves when one more is admitted; {@link release} undoes it. Rejects with `ABORTED` if `signal` fires first. */
  async acquire(signal: AbortSignal, operation: string): Promise<void> {
    throwIfAborted(signal, operation);
    if (!this.isFull) {
      this.#occupied++;
      return;
    }
    const { promise: admitted, resolve: admit } = Promise.withResolvers<void>();
    this.#waiters.add(admit);
    this.evictForWaiters();
    try {
      await orAborted(admitted, signal, operation);
    } catch (error) {
      if (!this.#waiters.delete(admit)) this.release(); // admitted at the same time
      throw error;
    }
  }

  /** One that was admitted has ended: admits the one that has waited longest. */
  release(): void {
    const [admit] = this.#waiters;
    if (!admit) {
      this.#occupied--;
      return;
    }
    this.#waiters.delete(admit);
    admit();
  }

  /** Begins one eviction per waiter. Call it whenever one has become evictable. */
  evictForWaiters(): void {
    while (this.#waiters.size > this.#evicting) {
      const eviction = this.#evictOne();
      if (!eviction) return; // none is evictable now: called again when one is
      this.#evicting++;
      const onEvicted = (): void => {
        this.#evicting--;
        this.evictForWaiters();
      };
      eviction.then(onEvicted, onEvicted);
    }
  }
}
