import type { TimerHandle } from '../core/clock.js';
import type { Context } from '../core/context.js';
import { activityPolicy } from './connection-policy.js';
import type { ConnectionMode, ConnectionPolicy, UserActivity } from './connection-policy.js';
import { catchRejection } from '../core/contain.js';
import { ActivityHistory } from './activity-history.js';
import { DueTimes } from './due-times.js';

/** How the scheduler reads a user's activity, and carries out the decisions of the policy. */
export interface IdleActions {
  /** The user's activity; undefined if the user has no client. */
  readonly activity: (userId: string) => { lastActivityAt: number; prewarmedAt: number | undefined } | undefined;
  readonly rest: (userId: string, pollIntervalMs: number) => void;
  readonly wake: (userId: string) => void;
  readonly stopIdle: (userId: string) => void;
  /** Starts the client of a user whose usual hour is near. Must not evict another client for it. */
  readonly prewarm: (userId: string) => void;
  /** Stops some of the least recently active clients. */
  readonly evictForMemory: () => void;
}

export interface IdleSchedulerOptions {
  /** @default live for `idleTimeoutMs`, then asleep; also where the policy throws or returns an invalid mode */
  readonly connectionPolicy?: ConnectionPolicy;
  readonly idleTimeoutMs: number;
  readonly sweepIntervalMs: number;
  /** Clients are stopped while the heap in use is above this number of bytes. */
  readonly maxHeapBytes: number;
}

/**
 * Carries out the connection policy, starts clients ahead of usual hours, and stops clients above `maxHeapBytes`. One
 * timer runs every `sweepIntervalMs` and reviews the users that are due. Activity does not move a scheduled review: a
 * review that finds the user active schedules the next one. So activity is cheap.
 */
export class IdleScheduler {
  readonly #context: Pick<Context, 'clock' | 'logger'>;
  readonly #options: IdleSchedulerOptions;
  readonly #fallbackPolicy: ConnectionPolicy;
  readonly #actions: IdleActions;
  readonly #activityHistory = new ActivityHistory();
  readonly #reviewQueue: DueTimes;
  /** Users without a client, by the time at which to start it ahead of their usual hour. */
  readonly #prewarmQueue: DueTimes;
  readonly #resting = new Set<string>();
  #sweepTimer: TimerHandle;
  /**
   * Users for whom the policy is running now. The policy may call the manager, which must not run it again for them.
   */
  readonly #deciding = new Set<string>();
  #policyFailureLogged = false;
  #closed = false;

  constructor(context: Pick<Context, 'clock' | 'logger'>, options: IdleSchedulerOptions, actions: IdleActions) {
    this.#context = context;
    this.#options = options;
    this.#fallbackPolicy = activityPolicy({ idleTimeoutMs: options.idleTimeoutMs });
    this.#actions = actions;
    this.#reviewQueue = new DueTimes(options.sweepIntervalMs);
    this.#prewarmQueue = new DueTimes(options.sweepIntervalMs);
  }

  isResting(userId: string): boolean {
    return this.#resting.has(userId);
  }

  recordActivity(userId: string): void {
    this.#activityHistory.note(userId, this.#context.clock.now());
    if (!this.#resting.delete(userId)) return;
    this.#actions.wake(userId);
    this.#reviewQueue.cancel(userId); // scheduled for a resting user: ask again now that the user is active
    this.scheduleReviews(userId);
  }

  /** Reviews the user from now on: their client may rest or be stopped as idle. */
  scheduleReviews(userId: string): void {
    if (this.#closed) return;
    this.#prewarmQueue.cancel(userId);
    if (!this.#reviewQueue.has(userId)) this.#review(userId);
    this.#scheduleSweep();
  }

  /** Ends the reviews of the user, and ends a rest: a call or a connection needs the client. */
  keepLive(userId: string): void {
    const wasResting = this.#resting.has(userId);
    this.endReviews(userId);
    if (wasResting) this.#actions.wake(userId);
  }

  /** Ends the reviews of the user, whose client stops. */
  endReviews(userId: string): void {
    this.#reviewQueue.cancel(userId);
    this.#resting.delete(userId);
    this.#cancelSweepIfIdle();
  }

  /** Deletes the record of the user's hours and a scheduled prewarm. Call it after their client has stopped. */
  deleteActivityHistory(userId: string): void {
    this.#activityHistory.forget(userId);
    this.#prewarmQueue.cancel(userId);
    this.#cancelSweepIfIdle();
  }

  close(): void {
    this.#closed = true;
    this.#reviewQueue.clear();
    this.#prewarmQueue.clear();
    this.#cancelSweepIfIdle();
  }

  #review(userId: string): void {
    const activity = this.#actions.activity(userId);
    if (!activity || this.#deciding.has(userId)) return;
    const { clock } = this.#context;
    const now = clock.now();
    const likelyReturnAt = this.#activityHistory.likelyReturnAt(userId, now);
    const decision = this.#decide({
      userId,
      now,
      lastActivityAt: activity.lastActivityAt,
      ...(activity.prewarmedAt !== undefined && { expectedSince: activity.prewarmedAt }),
      ...(likelyReturnAt !== undefined && { likelyReturnAt }),
    });
    if (this.#closed || !this.#actions.activity(userId)) return; // the policy itself has stopped the client
    if (decision.mode === 'asleep') {
      this.#actions.stopIdle(userId);
      if (decision.wakeAt !== undefined) this.#prewarmQueue.schedule(userId, decision.wakeAt);
      return;
    }
    // At least 1 ms: a `reviewAt` in the past would cause an endless loop.
    this.#reviewQueue.schedule(userId, Math.max(decision.reviewAt, now + 1));
    if (decision.mode === 'live') {
      if (this.#resting.delete(userId)) this.#actions.wake(userId);
    } else {
      this.#resting.add(userId);
      this.#actions.rest(userId, decision.pollIntervalMs);
    }
  }

  #decide(activity: UserActivity): ConnectionMode {
    const { connectionPolicy = this.#fallbackPolicy } = this.#options;
    this.#deciding.add(activity.userId);
    try {
      const mode: unknown = connectionPolicy.decide(activity);
      if (isConnectionMode(mode)) {
        this.#policyFailureLogged = false;
        return mode;
      }
      catchRejection(mode, () => {}); // an async decide() returns a promise: its rejection must not end the process
      throw new TypeError('connectionPolicy.decide() returned no valid connection mode');
    } catch (err) {
      // Logged once until the policy works again, since it runs for every user.
      if (!this.#policyFailureLogged)
        this.#context.logger.error(
          { userId: activity.userId, err },
          'the connection policy failed; using the fallback policy',
        );
      this.#policyFailureLogged = true;
      return this.#fallbackPolicy.decide(activity);
    } finally {
      this.#deciding.delete(activity.userId);
    }
  }

  #scheduleSweep(): void {
    if (this.#sweepTimer !== undefined || this.#closed) return;
    const { clock } = this.#context;
    const { sweepIntervalMs } = this.#options;
    this.#sweepTimer = clock.setTimeout(() => {
      this.#sweepTimer = undefined;
      for (const userId of this.#reviewQueue.takeDue(clock.now())) this.#review(userId);
      for (const userId of this.#prewarmQueue.takeDue(clock.now())) this.#actions.prewarm(userId);
      this.#keepWithinHeapLimit();
      if (this.#reviewQueue.size + this.#prewarmQueue.size > 0) this.#scheduleSweep();
    }, sweepIntervalMs);
  }

  /** Clears the timer when no review is scheduled, so that it does not keep the process alive. */
  #cancelSweepIfIdle(): void {
    if (this.#reviewQueue.size + this.#prewarmQueue.size > 0) return;
    this.#context.clock.clearTimeout(this.#sweepTimer);
    this.#sweepTimer = undefined;
  }

  #keepWithinHeapLimit(): void {
    const { maxHeapBytes } = this.#options;
    if (maxHeapBytes !== Infinity && process.memoryUsage().heapUsed > maxHeapBytes) this.#actions.evictForMemory();
  }
}

function isConnectionMode(value: unknown): value is ConnectionMode {
  if (typeof value !== 'object' || value === null) return false;
  const { mode, reviewAt, pollIntervalMs, wakeAt } = value as Record<string, unknown>;
  if (mode === 'asleep') return wakeAt === undefined || isTime(wakeAt);
  if (mode === 'live') return isTime(reviewAt);
  return mode === 'resting' && isTime(reviewAt) && isTime(pollIntervalMs) && pollIntervalMs > 0;
}

/** Whether the value is a number of milliseconds. Infinity means never. */
function isTime(value: unknown): value is number {
  return typeof value === 'number' && !Number.isNaN(value);
}
