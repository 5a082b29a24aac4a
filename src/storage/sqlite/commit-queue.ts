import type { DatabaseSync } from 'node:sqlite';
import type { Clock, TimerHandle } from '../../core/clock.js';
import type { Durability } from '../record-storage.js';
import { inTransaction } from './statements.js';

export interface Task<T> {
  readonly userId: string | undefined;
  /** With `process-later` the task may wait for the flush interval. Another one also commits the tasks queued before it. */
  readonly durability: Durability;
  /** Runs inside a transaction. Called again if that transaction fails. */
  readonly run: () => T;
}

interface QueuedTask extends Task<unknown> {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

interface QueueOptions {
  readonly database: DatabaseSync;
  readonly clock: Clock;
  readonly flushIntervalMs: number;
  /** Makes committed transactions survive a power failure. Undefined if only SQLite can do that, during a commit. */
  readonly sync: (() => Promise<void>) | undefined;
  /** Converts the error of a failed transaction to the error that its task rejects with. */
  readonly toError: (error: unknown) => Error;
  /** Called before each transaction. */
  readonly onBegin?: () => void;
  /** Called after each committed transaction. */
  readonly onCommitted?: () => void;
}

/** Maximum number of tasks per transaction. Longer transactions would block the event loop. */
const TASKS_PER_TRANSACTION = 200;

/**
 * Runs tasks in order, and combines many of them in one transaction. A task's promise settles after the commit, and with
 * `power` when the commit is on disk: while one write to the disk runs, the next tasks wait for a common one. The tasks of
 * a failed transaction are repeated one by one, so that only the failing task and later tasks of the same user reject.
 */
export class CommitQueue {
  readonly #options: QueueOptions;
  #tasks: QueuedTask[] = [];
  #timer: { readonly handle: TimerHandle } | undefined;
  #immediate: NodeJS.Immediate | undefined;
  #synchronous: 'FULL' | 'NORMAL' | undefined;

  constructor(options: QueueOptions) {
    this.#options = options;
    if (options.sync) this.#setSynchronous('NORMAL');
  }

  add<T>(task: Task<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#tasks.push({ ...task, resolve: resolve as (value: unknown) => void, reject });
      this.#schedule(task.durability === 'process-later');
    });
  }

  /** Runs all queued tasks synchronously. Resolves when nothing is written to the disk any more. */
  async drain(): Promise<void> {
    while (this.#tasks.length > 0) this.#runNext();
    this.#cancel();
    await this.#options.sync?.().catch(() => {}); // the tasks have rejected
  }

  #schedule(mayWait: boolean): void {
    if (this.#immediate) return;
    const { clock, flushIntervalMs } = this.#options;
    if (mayWait && flushIntervalMs > 0) {
      this.#timer ??= { handle: clock.setTimeout(() => this.#flush(), flushIntervalMs) };
      return;
    }
    this.#cancel();
    this.#immediate = setImmediate(() => this.#flush());
  }

  #flush(): void {
    this.#cancel();
    this.#runNext();
    if (this.#tasks.length > 0) this.#schedule(false);
  }

  #cancel(): void {
    if (this.#timer) this.#options.clock.clearTimeout(this.#timer.handle);
    clearImmediate(this.#immediate);
    this.#timer = undefined;
    this.#immediate = undefined;
  }

  #runNext(): void {
    const tasks = this.#tasks.splice(0, TASKS_PER_TRANSACTION);
    try {
      const results = this.#transaction(tasks);
      for (const [i, task] of tasks.entries()) this.#resolve(task, results[i]);
    } catch (error) {
      const [only] = tasks;
      if (tasks.length === 1 && only) only.reject(this.#options.toError(error));
      else this.#runOneByOne(tasks);
    }
  }

  #runOneByOne(tasks: readonly QueuedTask[]): void {
    const failed = new Map<string | undefined, unknown>();
    for (const task of tasks) {
      try {
        if (failed.has(task.userId)) throw failed.get(task.userId);
        const [result] = this.#transaction([task]);
        this.#resolve(task, result);
      } catch (error) {
        failed.set(task.userId, error);
        task.reject(this.#options.toError(error));
      }
    }
  }

  #transaction(tasks: readonly QueuedTask[]): unknown[] {
    const { database, onBegin, onCommitted } = this.#options;
    const syncsItself = !this.#options.sync && tasks.some((task) => task.durability === 'power');
    this.#setSynchronous(syncsItself ? 'FULL' : 'NORMAL');
    onBegin?.();
    const results = inTransaction(database, () => tasks.map((task) => task.run()));
    onCommitted?.();
    return results;
  }

  #resolve(task: QueuedTask, result: unknown): void {
    const { sync, toError } = this.#options;
    if (!sync || task.durability !== 'power') return task.resolve(result);
    sync().then(
      () => task.resolve(result),
      (error: unknown) => task.reject(toError(error)),
    );
  }

  /** In WAL mode both modes survive a kill. FULL adds an fsync, which also covers all earlier transactions. */
  #setSynchronous(mode: 'FULL' | 'NORMAL'): void {
    if (this.#synchronous === mode) return;
    this.#options.database.exec(`PRAGMA synchronous = ${mode}`);
    this.#synchronous = mode;
  }
}
