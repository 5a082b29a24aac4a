import { orAborted, throwIfAborted } from './abort.js';

/** Runs the tasks of one key in order, one at a time. Tasks of different keys run concurrently. */
export class KeyedQueue {
  readonly #tails = new Map<string, Promise<void>>();

  /** How many keys have a running or waiting task. */
  get size(): number {
    return this.#tails.size;
  }

  /**
   * @param signal - ends the caller's wait immediately with `ABORTED`; a task that has not started by then is not run
   * @param operation - the name of the operation in that error
   */
  run<T>(key: string, task: () => Promise<T>, signal?: AbortSignal, operation = 'a queued call'): Promise<T> {
    // Always started asynchronously: a task that queues another one under its own key would otherwise overtake itself.
    const result = (this.#tails.get(key) ?? Promise.resolve()).then(() => {
      throwIfAborted(signal, operation);
      return task();
    });
    const tail = result
      .then(
        () => undefined,
        () => undefined, // the caller handles the failure; the queue continues
      )
      .then(() => {
        if (this.#tails.get(key) === tail) this.#tails.delete(key);
      });
    this.#tails.set(key, tail);
    return orAborted(result, signal, operation);
  }

  /** Resolves when all tasks that are queued now have run. */
  async settled(): Promise<void> {
    await Promise.all(this.#tails.values());
  }
}
