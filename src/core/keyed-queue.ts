import { orAborted, throwIfAborted } from './abort.js';

/** Runs what is queued under one key in order, one at a time; keys do not wait for each other. */
export class KeyedQueue {
  readonly #tails = new Map<string, Promise<void>>();

  /** How many keys have something running or waiting. */
  get size(): number {
    return this.#tails.size;
  }

  /**
   * @param signal - ends the caller's wait at once with `ABORTED`; a task that has not begun by then is not run
   * @param operation - what the error says was aborted
   */
  run<T>(key: string, task: () => Promise<T>, signal?: AbortSignal, operation = 'a queued call'): Promise<T> {
    // Never begun in here: what a task queues under its own key would run beside it, before its place is taken.
    const result = (this.#tails.get(key) ?? Promise.resolve()).then(() => {
      throwIfAborted(signal, operation);
      return task();
    });
    const tail = result
      .then(
        () => undefined,
        () => undefined, // the caller handles the failure; the queue goes on
      )
      .then(() => {
        if (this.#tails.get(key) === tail) this.#tails.delete(key);
      });
    this.#tails.set(key, tail);
    return orAborted(result, signal, operation);
  }

  /** Resolves when all that is queued now has run. */
  async settled(): Promise<void> {
    await Promise.all(this.#tails.values());
  }
}
