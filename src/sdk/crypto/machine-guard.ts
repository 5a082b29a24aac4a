import type { Clock, TimerHandle } from '../../core/clock.js';
import { MatrixClientManagerError } from '../../core/errors.js';
import { nextEventLoopTurn } from '../../core/event-loop.js';
import type { Logger } from '../../core/logger.js';
import type { DeviceStore } from '../../encryption/store/device-store.js';
import type { ReceiveSyncChanges } from './sync-parts.js';
import { receiveInParts } from './sync-parts.js';

interface GuardOptions {
  readonly userId: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How long one call may take, in milliseconds. No call waits for the network. */
  readonly callTimeoutMs: number;
  /** Called once, when a call does not settle in time. The client has to be restarted. */
  readonly onFault: (error: MatrixClientManagerError) => void;
  /** Stores the machine's keys. */
  readonly store: Pick<DeviceStore, 'hold' | 'release' | 'durable'>;
}

type Method = (...args: unknown[]) => unknown;

/**
 * Methods whose rejections the SDK handles. It does not await other methods everywhere, and an unhandled rejection
 * would end the process. So where the guard would reject another method's call, that call never settles.
 */
const rejectable = new Set([
  'receiveSyncChanges',
  'receiveSyncChangesMsc4186',
  'outgoingRequests',
  'encryptRoomEvent',
  'decryptRoomEvent',
]);
/**
 * All changes of one call to these methods are stored in one transaction. The SDK alone stores the Olm session that a
 * message starts before the room key in the message. After a crash in between, it would reject the message as a replay.
 */
const atomic = new Set(['receiveSyncChanges', 'receiveSyncChangesMsc4186']);
const unwrapped = new Set(['constructor', 'close', 'free', '__destroy_into_raw']);

/**
 * Wraps the methods of the SDK's OlmMachine. Gives a result to the SDK when all changes that it may depend on are
 * durable, also those of other calls. Stores all changes of a sync in one transaction, reports calls that never
 * settle (as after a panic), and waits for running calls before the machine is closed. The SDK would otherwise throw an
 * uncaught "null pointer passed to rust".
 */
export class MachineGuard {
  readonly #options: GuardOptions;
  /** Resolve when a call has been answered. */
  readonly #running = new Set<Promise<void>>();
  readonly #timers = new Set<TimerHandle>();
  /** Number of running atomic calls. */
  #atomicCalls = 0;
  /** Settle the calls that ended during an atomic call: their results may depend on changes that are not stored yet. */
  #deferredResults: ((failure?: unknown) => void)[] = [];
  #ignoresCalls = false;
  #hasFaulted = false;

  constructor(machine: object, options: GuardOptions) {
    this.#options = options;
    const methods = Object.entries(Object.getOwnPropertyDescriptors(Object.getPrototypeOf(machine) as object));
    const guarded: Record<string, Method> = {};
    for (const [name, { value }] of methods) {
      if (typeof value !== 'function' || unwrapped.has(name)) continue;
      const method = (value as Method).bind(machine);
      const call = atomic.has(name) ? receiveInParts.bind(undefined, method as ReceiveSyncChanges) : method;
      guarded[name] = (...args) => this.#call(name, () => (call as Method)(...args));
    }
    const close = (machine as { close(): void }).close.bind(machine);
    Object.assign(machine, guarded, { close: () => this.#close(close) });
  }

  /** Resolves when no call runs, or after `timeoutMs`. Later calls are not made, and never settle. */
  async settle(timeoutMs: number, alsoRunning: () => readonly Promise<unknown>[]): Promise<void> {
    const { clock } = this.#options;
    const expired = new AbortController();
    const expiry = new Promise((resolve) => expired.signal.addEventListener('abort', resolve, { once: true }));
    const timer = clock.setTimeout(() => expired.abort(), timeoutMs);
    for (;;) {
      const running = [...this.#running, ...alsoRunning()];
      await Promise.race([Promise.allSettled(running), expiry]);
      await nextEventLoopTurn(); // a call that ended may have started another one
      if (expired.signal.aborted || this.#running.size + alsoRunning().length === 0) break;
    }
    clock.clearTimeout(timer);
    this.#ignoresCalls = true;
    for (const handle of this.#timers) clock.clearTimeout(handle);
    this.#timers.clear();
  }

  #call(name: string, call: () => unknown): unknown {
    if (this.#ignoresCalls) return new Promise(() => {});
    const result = atomic.has(name) ? this.#callAtomically(call) : call();
    return result instanceof Promise ? this.#watch(name, result) : result;
  }

  /** Runs the call, and stores its changes before it settles. */
  async #callAtomically(call: () => unknown): Promise<unknown> {
    const { store } = this.#options;
    if (this.#atomicCalls++ === 0) store.hold();
    try {
      return await call();
    } finally {
      if (--this.#atomicCalls === 0) await this.#storeChanges();
    }
  }

  async #storeChanges(): Promise<void> {
    const answers = this.#deferredResults;
    this.#deferredResults = [];
    try {
      await this.#options.store.release();
    } catch (error) {
      for (const answer of answers) answer(error);
      throw error;
    }
    for (const answer of answers) answer();
  }

  #watch(name: string, result: Promise<unknown>): Promise<unknown> {
    const { clock, callTimeoutMs, store } = this.#options;
    const ended = Promise.withResolvers<void>();
    this.#running.add(ended.promise);
    return new Promise((resolve, reject) => {
      const end = (): void => {
        clock.clearTimeout(timer);
        this.#timers.delete(timer);
        this.#running.delete(ended.promise);
        ended.resolve();
      };
      const timer = clock.setTimeout(() => {
        end();
        const error = this.#reportFault(name);
        if (rejectable.has(name)) reject(error);
      }, callTimeoutMs);
      this.#timers.add(timer);
      result.then(
        (value) => {
          const answer = (failure?: unknown): void => {
            end();
            if (failure === undefined) resolve(value);
            else if (rejectable.has(name)) reject(failure);
          };
          if (this.#atomicCalls > 0) {
            this.#deferredResults.push(answer);
            return;
          }
          const durable = store.durable();
          if (durable) durable.then(() => answer(), answer);
          else answer();
        },
        (error: unknown) => {
          end();
          reject(error);
        },
      );
    });
  }

  #reportFault(name: string): MatrixClientManagerError {
    const { userId, callTimeoutMs, logger, onFault } = this.#options;
    const message =
      `the crypto library did not finish ${name} for ${userId} within ${callTimeoutMs} ms; ` +
      'the client has to be restarted';
    const error = new MatrixClientManagerError('CLIENT_FAILED', message, { userId });
    if (!this.#hasFaulted) {
      this.#hasFaulted = true;
      logger.error({ userId, err: error }, 'a call of the crypto library does not settle');
      onFault(error);
    }
    return error;
  }

  #close(close: () => void): void {
    this.#ignoresCalls = true;
    try {
      close();
    } catch (error) {
      // A call that panicked never gives back its borrow of the machine, whose memory is then lost.
      this.#options.logger.warn({ userId: this.#options.userId, err: error }, 'the crypto library cannot be closed');
    }
  }
}
