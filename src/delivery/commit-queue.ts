import { delay } from '../core/abort.js';
import type { Context } from '../core/context.js';
import { backoffMs } from '../http/retry.js';
import type { CheckpointChange } from '../storage/checkpoint.js';

export interface CommitQueueOptions {
  readonly userId: string;
  readonly commit: (change: CheckpointChange) => Promise<void>;
  /** Returns what has been handled since the last call; undefined if there is nothing to store. */
  readonly takeChange: () => CheckpointChange | undefined;
  /** Ends the retries. */
  readonly signal: AbortSignal;
}

const COMMIT_RETRY = { baseDelayMs: 1_000, maxDelayMs: 60_000 };

/** Commits the changes of one delivery, one after the other. None is stored without those before it. */
export class CommitQueue {
  readonly #context: Pick<Context, 'clock' | 'logger'>;
  readonly #options: CommitQueueOptions;
  /** The last commit in the queue; each begins after the one before it. */
  #last: Promise<void> = Promise.resolve();
  #isScheduled = false;
  /** Resolve functions of {@link attempt} calls that wait for the next commit. */
  readonly #waiters: (() => void)[] = [];
  #isStorageFailing = false;
  #hasEnded = false;

  constructor(context: Pick<Context, 'clock' | 'logger'>, options: CommitQueueOptions) {
    this.#context = context;
    this.#options = options;
  }

  /** Whether no further commit may begin. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Resolves when the changes in the queue are stored or given up. */
  get settled(): Promise<void> {
    return this.#last;
  }

  /** Begins no further commit, even if a hanging storage recovers. */
  end(): void {
    this.#hasEnded = true;
  }

  /** Adds a change to the queue. */
  add(change: CheckpointChange): void {
    this.#last = this.#last.then(() => (this.#hasEnded ? undefined : this.#commit(change)));
  }

  /** Resolves when all events handled so far are stored. Changes during a running commit share the next one. */
  schedule(): Promise<void> {
    if (this.#hasEnded || this.#isStorageFailing) release(this.#waiters);
    if (this.#isScheduled || this.#hasEnded) return this.#last;
    this.#isScheduled = true;
    this.#last = this.#last.then(async () => {
      this.#isScheduled = false;
      const change = this.#hasEnded ? undefined : this.#options.takeChange();
      const waiters = this.#waiters.splice(0);
      if (change) await this.#commit(change, waiters);
      release(waiters);
    });
    return this.#last;
  }

  /** Like {@link schedule}, but resolves after one attempt. While the storage fails, it resolves at once. */
  attempt(): Promise<void> {
    const attempted = new Promise<void>((resolve) => this.#waiters.push(resolve));
    void this.schedule();
    return attempted;
  }

  /** Retries until the storage accepts the change, because later changes build on it. Gives up once aborted. */
  async #commit(change: CheckpointChange, waiters: (() => void)[] = []): Promise<void> {
    const { clock, logger } = this.#context;
    const { userId, commit, signal } = this.#options;
    for (let failures = 1; ; failures++) {
      try {
        await commit(change);
        this.#isStorageFailing = false;
        return;
      } catch (error) {
        this.#isStorageFailing = true;
        release(waiters);
        release(this.#waiters);
        logger.error({ userId, err: error, failures }, 'storing the sync position failed');
        const waited = delay(clock, backoffMs(failures, COMMIT_RETRY), signal, 'storing').then(() => true);
        if (await waited.catch(() => false)) continue;
        this.end(); // no later change may be stored without this one; its events are delivered again
        return;
      }
    }
  }
}

function release(waiters: (() => void)[]): void {
  for (const resolve of waiters.splice(0)) resolve();
}
