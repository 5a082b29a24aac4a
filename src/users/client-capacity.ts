import { abortedError } from '../core/abort.js';

/**
 * Enforces `maxClients`. Starts beyond the limit wait in the order of their arrival. For each waiting start one client
 * is evicted.
 */
export class ClientCapacity {
  readonly #maxClients: number;
  readonly #evictOne: () => Promise<unknown> | undefined;
  readonly #waiters = new Set<() => void>();
  #occupied = 0;
  #evicting = 0;

  /** @param evict - stops one evictable client and resolves when it has stopped; undefined if no client is evictable */
  constructor(maxClients: number, evict: () => Promise<unknown> | undefined) {
    this.#maxClients = maxClients;
    this.#evictOne = evict;
  }

  /** How many starts are waiting. */
  get waiting(): number {
    return this.#waiters.size;
  }

  /** Whether a start would have to wait. */
  get isFull(): boolean {
    return this.#occupied >= this.#maxClients || this.#waiters.size > 0;
  }

  /**
   * Resolves when one more client may run; {@link release} undoes it. Rejects with `ABORTED` if `signal` fires first.
   */
  async acquire(signal: AbortSignal, operation: string): Promise<void> {
    if (!this.isFull) {
      this.#occupied++;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      if (signal.aborted) return reject(abortedError(operation, signal.reason));
      const onAbort = (): void => {
        this.#waiters.delete(grant);
        reject(abortedError(operation, signal.reason));
      };
      const grant = (): void => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#waiters.add(grant);
      this.evictForWaiters();
    });
  }

  /** A client has ended: lets the start that has waited longest go on. */
  release(): void {
    const [next] = this.#waiters;
    if (!next) {
      this.#occupied--;
      return;
    }
    this.#waiters.delete(next);
    next();
  }

  /** Begins one eviction per waiting start. Call it whenever a client has become evictable. */
  evictForWaiters(): void {
    while (this.#waiters.size > this.#evicting) {
      const eviction = this.#evictOne();
      if (!eviction) return; // no client is evictable now: called again when one is
      this.#evicting++;
      const onEvicted = (): void => {
        this.#evicting--;
        this.evictForWaiters();
      };
      eviction.then(onEvicted, onEvicted);
    }
  }
}
