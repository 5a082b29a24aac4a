import type { Clock, TimerHandle } from '../core/clock.js';
import { activityPolicy } from './connection-policy.js';
import type { ConnectionMode, ConnectionPolicy, UserActivity } from './connection-policy.js';
import { catchRejection } from '../core/contain.js';
import { silentLogger } from '../core/logger.js';
import type { Logger } from '../core/logger.js';
import { ActivityHistory } from './activity-history.js';
import { ReviewQueue } from './review-queue.js';

/** What can be done about a user's connection. */
export interface IdleActions {
  /** The user's activity, or undefined when there is no client that a decision could be about. */
  readonly activity: (userId: string) => { lastActivityAt: number; expectedSince: number | undefined } | undefined;
  readonly rest: (userId: string, pollIntervalMs: number) => void;
  readonly wake: (userId: string) => void;
  readonly stopIdle: (userId: string) => void;
  /** Starts the client of a user who is likely to come; not at another user's cost. */
  readonly prewarm: (userId: string) => void;
  /** Stops some of the least recently active clients. */
  readonly evictForMemory: () => void;
}

export interface IdleSchedulerOptions {
  readonly connectionPolicy: ConnectionPolicy;
  /** Decides where `connectionPolicy` fails or answers what cannot be done. @default live for two hours */
  readonly fallbackPolicy?: ConnectionPolicy;
  /** @default none */
  readonly logger?: Logger;
  readonly clock: Clock;
  readonly sweepIntervalMs: number;
  /** Heap use from which on clients are stopped, in bytes. */
  readonly maxHeapBytes: number;
  /** @default that of the process */
  readonly heapUsed?: (() => number) | undefined;
}

const twoHours = activityPolicy({ idleTimeoutMs: 7_200_000 });

/**
 * Carries out the connection policy: one timer looks, every sweep, at those about whom a decision is due. Activity
 * costs next to nothing, because a decision that comes too early is just put off.
 */
export class IdleScheduler {
  readonly #options: IdleSchedulerOptions;
  readonly #actions: IdleActions;
  readonly #habits = new ActivityHistory();
  readonly #reviews: ReviewQueue;
  /** Sleepers who are to be started before they come. */
  readonly #prewarmed: ReviewQueue;
  readonly #resting = new Set<string>();
  #sweep: TimerHandle;
  /** The users about whom the policy is being asked: it may call the manager. */
  readonly #deciding = new Set<string>();
  #policyFails = false;
  #closed = false;

  constructor(options: IdleSchedulerOptions, actions: IdleActions) {
    this.#options = options;
    this.#actions = actions;
    this.#reviews = new ReviewQueue(options.sweepIntervalMs);
    this.#prewarmed = new ReviewQueue(options.sweepIntervalMs);
  }

  isResting(userId: string): boolean {
    return this.#resting.has(userId);
  }

  /** The user did something. */
  touched(userId: string): void {
    this.#habits.note(userId, this.#options.clock.now());
    if (!this.#resting.delete(userId)) return;
    this.#actions.wake(userId);
    this.#reviews.cancel(userId); // the next decision is about a user who is active
    this.watch(userId);
  }

  /** The user has a client that may be idle one day. */
  watch(userId: string): void {
    if (this.#closed) return;
    this.#prewarmed.cancel(userId);
    if (!this.#reviews.has(userId)) this.#review(userId);
    this.#arm();
  }

  /** The client is held or gone: nothing is to be decided about it. */
  unwatch(userId: string): void {
    this.#reviews.cancel(userId);
    if (this.#resting.delete(userId)) this.#actions.wake(userId);
    this.#disarmIfDone();
  }

  /** Nothing is known of the user any more: they are not started before they come. Their client has to be stopped. */
  forget(userId: string): void {
    this.#habits.forget(userId);
    this.#prewarmed.cancel(userId);
    this.#disarmIfDone();
  }

  close(): void {
    this.#closed = true;
    this.#reviews.clear();
    this.#prewarmed.clear();
    this.#disarmIfDone();
  }

  #review(userId: string): void {
    const activity = this.#actions.activity(userId);
    if (!activity || this.#deciding.has(userId)) return;
    const { clock } = this.#options;
    const now = clock.now();
    const likelyReturnAt = this.#habits.likelyReturnAt(userId, now);
    const connection = this.#decide({
      userId,
      now,
      lastActivityAt: activity.lastActivityAt,
      ...(activity.expectedSince !== undefined && { expectedSince: activity.expectedSince }),
      ...(likelyReturnAt !== undefined && { likelyReturnAt }),
    });
    if (this.#closed || !this.#actions.activity(userId)) return; // the policy itself has ended it
    if (connection.mode === 'asleep') {
      this.#actions.stopIdle(userId);
      if (connection.wakeAt !== undefined) this.#prewarmed.schedule(userId, connection.wakeAt);
      return;
    }
    // A policy that wants to be asked again at once would be asked in a loop.
    this.#reviews.schedule(userId, Math.max(connection.reviewAt, now + 1));
    if (connection.mode === 'live') {
      if (this.#resting.delete(userId)) this.#actions.wake(userId);
    } else {
      this.#resting.add(userId);
      this.#actions.rest(userId, connection.pollIntervalMs);
    }
  }

  #decide(user: UserActivity): ConnectionMode {
    const { connectionPolicy, fallbackPolicy = twoHours, logger = silentLogger } = this.#options;
    this.#deciding.add(user.userId);
    try {
      const mode: unknown = connectionPolicy.decide(user);
      if (isMode(mode)) {
        this.#policyFails = false;
        return mode;
      }
      catchRejection(mode, () => {}); // a promise, for example
      throw new TypeError('connectionPolicy.decide() returned no connection mode');
    } catch (err) {
      // Once until it works again: it is asked about every user.
      if (!this.#policyFails) logger.error({ userId: user.userId, err }, 'the connection policy failed');
      this.#policyFails = true;
      return fallbackPolicy.decide(user);
    } finally {
      this.#deciding.delete(user.userId);
    }
  }

  #arm(): void {
    if (this.#sweep !== undefined || this.#closed) return;
    const { clock, sweepIntervalMs } = this.#options;
    this.#sweep = clock.setTimeout(() => {
      this.#sweep = undefined;
      for (const userId of this.#reviews.takeDue(clock.now())) this.#review(userId);
      for (const userId of this.#prewarmed.takeDue(clock.now())) this.#actions.prewarm(userId);
      this.#keepWithinHeapLimit();
      if (this.#reviews.size + this.#prewarmed.size > 0) this.#arm();
    }, sweepIntervalMs);
  }

  /** With nobody to look for, no timer is left to keep the process alive. */
  #disarmIfDone(): void {
    if (this.#reviews.size + this.#prewarmed.size > 0) return;
    this.#options.clock.clearTimeout(this.#sweep);
    this.#sweep = undefined;
  }

  #keepWithinHeapLimit(): void {
    const { maxHeapBytes, heapUsed = () => process.memoryUsage().heapUsed } = this.#options;
    if (maxHeapBytes !== Infinity && heapUsed() > maxHeapBytes) this.#actions.evictForMemory();
  }
}

function isMode(value: unknown): value is ConnectionMode {
  if (typeof value !== 'object' || value === null) return false;
  const { mode, reviewAt, pollIntervalMs, wakeAt } = value as Record<string, unknown>;
  if (mode === 'asleep') return wakeAt === undefined || isTime(wakeAt);
  if (mode === 'live') return isTime(reviewAt);
  return mode === 'resting' && isTime(reviewAt) && isTime(pollIntervalMs) && pollIntervalMs > 0;
}

/** A number of milliseconds; Infinity for never. */
function isTime(value: unknown): value is number {
  return typeof value === 'number' && !Number.isNaN(value);
}
