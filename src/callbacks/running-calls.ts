import { AsyncLocalStorage } from 'node:async_hooks';
import type { ClientEvent } from '../core/client-event.js';
import type { Clock } from '../core/clock.js';
import { MatrixClientManagerError } from '../core/errors.js';
import { jsonCopy } from '../core/json-copy.js';
import { noTelemetry } from '../core/telemetry.js';
import type { Telemetry } from '../core/telemetry.js';
import { CallbackCall } from './callback-call.js';
import type { ClientCallback } from './callback.js';

export interface RunningCallsOptions {
  readonly clock: Clock;
  /** How long one call may take before it counts as failed, in milliseconds. */
  readonly timeoutMs: number;
  /** @default none */
  readonly telemetry?: Telemetry;
}

/** One registered callback of one user. */
export interface CallOwner {
  readonly callback: ClientCallback;
  /** Empty while it is not registered. */
  readonly filters: { readonly size: number };
  /** How many of its calls are overdue. */
  overdueCalls: number;
}

/** The callbacks that run now, and those that run for longer than they may. */
export class RunningCalls {
  readonly #options: RunningCallsOptions;
  /** Calls that are waited for, per user. */
  readonly #calls = new Map<string, Set<CallbackCall>>();
  /** Owners with overdue calls. */
  readonly #overdue = new Set<CallOwner>();
  readonly #current = new AsyncLocalStorage<CallbackCall>();

  constructor(options: RunningCallsOptions) {
    this.#options = options;
  }

  /** A call that has not begun. */
  prepare(owner: CallOwner, { userId, roomId }: ClientEvent): CallbackCall {
    const { clock, timeoutMs } = this.#options;
    return new CallbackCall({
      userId,
      roomId,
      clock,
      timeoutMs,
      onOverdue: () => {
        owner.overdueCalls++;
        if (owner.filters.size > 0) this.#overdue.add(owner);
      },
      onReturned: () => {
        owner.overdueCalls--;
        if (owner.overdueCalls === 0) this.#overdue.delete(owner);
      },
    });
  }

  /** Rejects as the callback does, or with `TIMEOUT` when it is overdue. */
  async run(call: CallbackCall, callback: ClientCallback, event: ClientEvent, attempt: number): Promise<void> {
    const { telemetry = noTelemetry } = this.#options;
    const { userId } = event;
    const own = jsonCopy(event); // what the callback does to its copy reaches neither the others nor the timelines
    const calls = this.#calls.get(userId) ?? new Set();
    this.#calls.set(userId, calls);
    calls.add(call);
    try {
      const run = (): Promise<void> => this.#current.run(call, () => call.run(() => callback(own, call)));
      await telemetry.callback(event, attempt, run);
    } finally {
      calls.delete(call);
      if (calls.size === 0) this.#calls.delete(userId);
    }
  }

  /** Resolves when none of the user's calls that run now is waited for any more. */
  async ended(userId: string): Promise<void> {
    await Promise.all([...(this.#calls.get(userId) ?? [])].map(({ ended }) => ended));
  }

  /** Whether the caller is in a call of the user that is waited for. */
  isInside(userId: string): boolean {
    const call = this.#current.getStore();
    return call !== undefined && !call.hasEnded && call.userId === userId;
  }

  /** How many calls of registered callbacks are overdue. */
  get overdue(): number {
    let sum = 0;
    for (const { overdueCalls } of this.#overdue) sum += overdueCalls;
    return sum;
  }

  /** The callback is not registered any more: its overdue calls concern nobody. */
  forget(owner: CallOwner): void {
    this.#overdue.delete(owner);
  }

  /** Tells the user's callbacks to end. What they return counts all the same. */
  abort(userId: string): void {
    const reason = new MatrixClientManagerError('ABORTED', `the client of ${userId} was stopped`, { userId });
    for (const call of this.#calls.get(userId) ?? []) call.abort(reason);
  }

  /** Tells all callbacks to end, and waits for none of them any more. */
  close(): void {
    this.#overdue.clear();
    const reason = new MatrixClientManagerError('MANAGER_CLOSED', 'the manager was shut down');
    for (const calls of this.#calls.values()) for (const call of calls) call.interrupt(reason);
  }
}
