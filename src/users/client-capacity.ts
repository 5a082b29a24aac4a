import { abortedError } from '../core/abort.js';

/**
 * The places under `maxClients`. A start that finds none waits, first come first served, and for each one that waits a
 * client is evicted.
 */
export class ClientCapacity {
  readonly #maxClients: number;
  readonly #evict: () => Promise<unknown> | undefined;
  readonly #waiting = new Set<() => void>();
  #occupied = 0;
  #evicting = 0;

  /** @param evict - stops a client that may be stopped, and resolves when it has; undefined where there is none */
  constructor(maxClients: number, evict: () => Promise<unknown> | undefined) {
    this.#maxClients = maxClients;
    this.#evict = evict;
  }

  /** How many starts wait. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Whether a start would have to wait. */
  get isFull(): boolean {
    return this.#occupied >= this.#maxClients || this.#waiting.size > 0;
  }

  /** Resolves when the caller has a place, which it gives back by {@link release}; rejects when `signal` fires first. */
  async acquire(signal: AbortSignal, operation: string): Promise<void> {
    if (!this.isFull) {
      this.#occupied++;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      if (signal.aborted) return reject(abortedError(operation, signal.reason));
      const leave = (): void => {
        this.#waiting.delete(enter);
        reject(abortedError(operation, signal.reason));
      };
      const enter = (): void => {
        signal.removeEventListener('abort', leave);
        resolve();
      };
      signal.addEventListener('abort', leave, { once: true });
      this.#waiting.add(enter);
      this.evictForWaiters();
    });
  }

  /** Gives a place back, or on to the start that has waited longest. */
  release(): void {
    const [next] = this.#waiting;
    if (!next) {
      this.#occupied--;
      return;
    }
    this.#waiting.delete(next);
    next();
  }

  /** Evicts as many clients as starts wait and are not being evicted for yet; to be called when one may be evicted. */
  evictForWaiters(): void {
    while (this.#waiting.size > this.#evicting) {
      const evicted = this.#evict();
      if (!evicted) return; // all are in use: the one that is free next calls this
      this.#evicting++;
      const goOn = (): void => {
        this.#evicting--;
        this.evictForWaiters();
      };
      evicted.then(goOn, goOn);
    }
  }
}
