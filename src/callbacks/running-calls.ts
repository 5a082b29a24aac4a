import { managerClosedError } from '../core/lifecycle.js';
import { AsyncLocalStorage } from 'node:async_hooks';
import type { ClientEvent } from '../core/client-event.js';
import type { Context } from '../core/context.js';
import { MatrixClientManagerError } from '../core/errors.js';
import { jsonCopy } from '../core/json-copy.js';
import { CallbackCall } from './callback-call.js';
import type { CallSource } from './callback-call.js';
import type { ClientCallback } from './callback.js';

/** The calls that the manager waits for. Counts the overdue ones per callback: those that still run after the wait. */
export class RunningCalls {
  readonly #context: Pick<Context, 'clock' | 'diagnostics'>;
  readonly #timeoutMs: number;
  /** The calls that the manager waits for, per user. Overdue ones are not among them. */
  readonly #calls = new Map<string, Set<CallbackCall>>();
  readonly #currentCall = new AsyncLocalStorage<CallbackCall>();

  /** @param timeoutMs - how long one call may take before it counts as failed, in milliseconds */
  constructor(context: Pick<Context, 'clock' | 'diagnostics'>, timeoutMs: number) {
    this.#context = context;
    this.#timeoutMs = timeoutMs;
  }

  /** Creates a call without beginning it. */
  prepare(source: CallSource, { userId, roomId }: ClientEvent): CallbackCall {
    return new CallbackCall({ userId, roomId, clock: this.#context.clock, timeoutMs: this.#timeoutMs, source });
  }

  /** Runs the call. Rejects with the callback's error, or with `TIMEOUT` when it is overdue. */
  async run(call: CallbackCall, callback: ClientCallback, event: ClientEvent, attempt: number): Promise<void> {
    const { userId } = event;
    const copy = jsonCopy(event); // a callback that changes its event affects neither other callbacks nor the timelines
    const calls = this.#calls.get(userId) ?? new Set();
    this.#calls.set(userId, calls);
    calls.add(call);
    try {
      const run = (): Promise<void> => this.#currentCall.run(call, () => call.run(() => callback(copy, call)));
      await this.#context.diagnostics.trace('callback', { event, attempt }, run);
    } finally {
      calls.delete(call);
      if (calls.size === 0) this.#calls.delete(userId);
    }
  }

  /** Resolves when the manager waits for none of the calls any more that it waits for now. Overdue calls do not count. */
  async whenEnded(userId: string): Promise<void> {
    await Promise.all([...(this.#calls.get(userId) ?? [])].map((call) => call.waitEnded));
  }

  /** Whether the code runs inside a call of the user that the manager waits for. */
  isInsideCallback(userId: string): boolean {
    const call = this.#currentCall.getStore();
    return call !== undefined && this.#calls.get(userId)?.has(call) === true;
  }

  /** Whether the code runs inside a call of the callback for the event's room. Waiting for its queue would never end. */
  isInsideCallOf(source: CallSource, { roomId }: ClientEvent): boolean {
    return this.#currentCall.getStore()?.holdsQueue(source, roomId) ?? false;
  }

  /** Aborts the signals of the user's calls. The waits go on, and the results count. */
  abort(userId: string): void {
    const reason = new MatrixClientManagerError('ABORTED', `the client of ${userId} was stopped`, { userId });
    for (const call of this.#calls.get(userId) ?? []) call.abort(reason);
  }

  /** Aborts the signals of all calls and ends the waits with `MANAGER_CLOSED`. */
  close(): void {
    const reason = managerClosedError();
    for (const calls of this.#calls.values()) for (const call of calls) call.interrupt(reason);
  }
}
