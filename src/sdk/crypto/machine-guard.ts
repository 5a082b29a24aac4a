import type { Clock, TimerHandle } from '../../core/clock.js';
import { MatrixClientManagerError } from '../../core/errors.js';
import { nextEventLoopTurn } from '../../core/event-loop.js';
import type { Logger } from '../../core/logger.js';
import type { ReceiveSyncChanges } from './sync-parts.js';
import { receiveInParts } from './sync-parts.js';

interface GuardOptions {
  readonly userId: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How long one call may take, in milliseconds; none of them waits for the network. */
  readonly callTimeoutMs: number;
  /** Called once, when a call did not settle. The client cannot go on. */
  readonly onFault: (error: MatrixClientManagerError) => void;
  /** Where the machine's keys are stored; `release()` throws where they are not. */
  readonly store: { hold(): void; release(): void };
}

type Method = (...args: unknown[]) => unknown;

/**
 * Calls that the SDK waits for in a place that handles a failure. Others it makes and forgets, and there a rejection
 * would be an unhandled one, which ends the process: such a call never settles, as without a guard.
 */
const awaited = new Set([
  'receiveSyncChanges',
  'receiveSyncChangesMsc4186',
  'outgoingRequests',
  'encryptRoomEvent',
  'decryptRoomEvent',
]);
/**
 * What these change is stored at once when they are through. By itself the SDK stores the Olm session that a message
 * begins before the room key in it: killed in between, it takes the message for a repetition when it comes again.
 */
const atomic = new Set(['receiveSyncChanges', 'receiveSyncChangesMsc4186']);
const untouched = new Set(['constructor', 'close', 'free', '__destroy_into_raw']);

/**
 * Stands between the SDK and its OlmMachine. Has what a sync changes stored all at once, finds out calls that never
 * settle, as after a panic, and lets the machine be closed only when nothing of it runs: closed under a call, the SDK
 * throws "null pointer passed to rust" where nobody catches it.
 */
export class MachineGuard {
  readonly #options: GuardOptions;
  readonly #running = new Set<Promise<unknown>>();
  readonly #timers = new Set<TimerHandle>();
  /** How many atomic calls run: what others answer meanwhile may rest on what is not stored yet, so it waits. */
  #holds = 0;
  #answers: ((failure?: unknown) => void)[] = [];
  #parked = false;
  #faulty = false;

  constructor(machine: object, options: GuardOptions) {
    this.#options = options;
    const methods = Object.entries(Object.getOwnPropertyDescriptors(Object.getPrototypeOf(machine) as object));
    const guarded: Record<string, Method> = {};
    for (const [name, { value }] of methods) {
      if (typeof value !== 'function' || untouched.has(name)) continue;
      const method = (value as Method).bind(machine);
      const call = atomic.has(name) ? receiveInParts.bind(undefined, method as ReceiveSyncChanges) : method;
      guarded[name] = (...args) => this.#call(name, () => (call as Method)(...args));
    }
    const close = (machine as { close(): void }).close.bind(machine);
    Object.assign(machine, guarded, { close: () => this.#close(close) });
  }

  /** Resolves when no call runs, or after `timeoutMs`. Calls made from then on go nowhere. */
  async settle(timeoutMs: number, alsoRunning: () => readonly Promise<unknown>[]): Promise<void> {
    const { clock } = this.#options;
    const expired = new AbortController();
    const expiry = new Promise((resolve) => expired.signal.addEventListener('abort', resolve, { once: true }));
    const timer = clock.setTimeout(() => expired.abort(), timeoutMs);
    for (;;) {
      const running = [...this.#running, ...alsoRunning()];
      await Promise.race([Promise.allSettled(running), expiry]);
      await nextEventLoopTurn(); // what has ended may have begun something else
      if (expired.signal.aborted || this.#running.size + alsoRunning().length === 0) break;
    }
    clock.clearTimeout(timer);
    this.#parked = true;
    for (const handle of this.#timers) clock.clearTimeout(handle);
    this.#timers.clear();
  }

  #call(name: string, call: () => unknown): unknown {
    if (this.#parked) return new Promise(() => {});
    const result = atomic.has(name) ? this.#atOnce(call) : call();
    return result instanceof Promise ? this.#watch(name, result) : result;
  }

  /** Runs the call, and stores what it has changed before it settles. */
  async #atOnce(call: () => unknown): Promise<unknown> {
    const { store } = this.#options;
    if (this.#holds++ === 0) store.hold();
    try {
      return await call();
    } finally {
      if (--this.#holds === 0) this.#release();
    }
  }

  #release(): void {
    const answers = this.#answers;
    this.#answers = [];
    try {
      this.#options.store.release();
    } catch (error) {
      for (const answer of answers) answer(error);
      throw error;
    }
    for (const answer of answers) answer();
  }

  #watch(name: string, result: Promise<unknown>): Promise<unknown> {
    const { clock, callTimeoutMs } = this.#options;
    this.#running.add(result);
    return new Promise((resolve, reject) => {
      const timer = clock.setTimeout(() => {
        this.#timers.delete(timer);
        this.#running.delete(result);
        const error = this.#fault(name);
        if (awaited.has(name)) reject(error);
      }, callTimeoutMs);
      this.#timers.add(timer);
      const end = (): void => {
        clock.clearTimeout(timer);
        this.#timers.delete(timer);
        this.#running.delete(result);
      };
      result.then(
        (value) => {
          end();
          const answer = (failure?: unknown): void => {
            if (failure === undefined) resolve(value);
            else if (awaited.has(name)) reject(failure);
          };
          if (this.#holds > 0) this.#answers.push(answer);
          else answer();
        },
        (error: unknown) => {
          end();
          reject(error);
        },
      );
    });
  }

  #fault(name: string): MatrixClientManagerError {
    const { userId, callTimeoutMs, logger, onFault } = this.#options;
    const message =
      `the crypto library did not answer ${name} for ${userId} within ${callTimeoutMs} ms; ` +
      'the client is to be started again';
    const error = new MatrixClientManagerError('CLIENT_FAILED', message, { userId });
    if (!this.#faulty) {
      this.#faulty = true;
      logger.error({ userId, err: error }, 'a call of the crypto library does not settle');
      onFault(error);
    }
    return error;
  }

  #close(close: () => void): void {
    this.#parked = true;
    try {
      close();
    } catch (error) {
      // A call that panicked has borrowed it for ever; its memory cannot be had back.
      this.#options.logger.warn({ userId: this.#options.userId, err: error }, 'the crypto library cannot be closed');
    }
  }
}
