import { abortedError } from '../../core/abort.js';
import type { TimerHandle } from '../../core/clock.js';
import type { Context } from '../../core/context.js';
import { MatrixClientManagerError } from '../../core/errors.js';
import { nextEventLoopTurn } from '../../core/event-loop.js';
import type { DeviceStore } from '../../encryption/store/device-store.js';
import type { ReceiveSyncChanges } from './sync-parts.js';
import { receiveInParts } from './sync-parts.js';

type GuardContext = Pick<Context, 'clock' | 'logger'>;

interface GuardOptions {
  readonly userId: string;
  /**
   * How long one call may take, and then the storing of its changes, in milliseconds. No call waits for the network. A sync
   * can bring thousands of messages: each part of them has this time.
   */
  readonly callTimeoutMs: number;
  /** Called once, when a call does not settle in time. The client has to be restarted. */
  readonly onFault: (error: MatrixClientManagerError) => void;
  /** Stores the machine's keys. */
  readonly store: Pick<DeviceStore, 'collect' | 'endCollecting' | 'flush'>;
}

/** A call that consists of parts. */
interface Progress {
  /** Called before each part. Set by the guard, which gives the part its time. */
  noteProgress: () => void;
}

type Method = (...args: unknown[]) => unknown;

/** Atomic calls that run at the same time. Their changes are stored together when none of them runs any more. */
interface Batch {
  /** Number of atomic calls that run. */
  calls: number;
  readonly stored: PromiseWithResolvers<void>;
}

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
 * Changes of these methods are stored in one transaction with all other changes of the call. The SDK alone stores the Olm
 * session that a message starts before the room key in the message. After a crash in between, it would reject the message
 * as a replay. Changes of other methods may also be stored when another call ends.
 */
const atomic = new Set(['receiveSyncChanges', 'receiveSyncChangesMsc4186']);
const unwrapped = new Set(['constructor', 'close', 'free', '__destroy_into_raw']);

/**
 * Wraps the methods of the SDK's OlmMachine. Gives a result to the SDK when all changes that it may depend on are
 * durable, also those of other calls. Stores the changes of a call when it ends, those of a sync in one transaction. Reports calls that never
 * settle (as after a panic), and waits for running calls before the machine is closed. The SDK would otherwise throw an
 * uncaught "null pointer passed to rust".
 */
export class MachineGuard {
  readonly #context: GuardContext;
  readonly #options: GuardOptions;
  /** Resolve when a call has been answered. */
  readonly #running = new Set<Promise<void>>();
  readonly #timers = new Set<TimerHandle>();
  /** Calls that end during an atomic call wait for it: their results may depend on changes that are not stored yet. */
  #batch: Batch | undefined;
  #ignoresCalls = false;
  #hasFaulted = false;

  constructor(context: GuardContext, machine: object, options: GuardOptions) {
    this.#context = context;
    this.#options = options;
    const methods = Object.entries(Object.getOwnPropertyDescriptors(Object.getPrototypeOf(machine) as object));
    const guarded: Record<string, Method> = {};
    for (const [name, { value }] of methods) {
      if (typeof value !== 'function' || unwrapped.has(name)) continue;
      const method = (value as Method).bind(machine);
      guarded[name] = (...args) => this.#call(name, () => method(...args));
      if (!atomic.has(name)) continue;
      const receive = receiveInParts.bind(undefined, method as ReceiveSyncChanges) as (...args: unknown[]) => unknown;
      guarded[name] = (...args) => {
        const progress: Progress = { noteProgress: () => {} };
        const onPart = (): void => {
          // The call has outlasted the shutdown: the machine may be closed, and must not be called any more.
          if (this.#ignoresCalls) throw abortedError(`${name} for ${options.userId}`);
          progress.noteProgress();
        };
        return this.#call(name, () => receive(onPart, ...args), progress);
      };
    }
    const close = (machine as { close(): void }).close.bind(machine);
    Object.assign(machine, guarded, { close: () => this.#close(close) });
  }

  /** Makes a call of another object of the crypto library, such as a device, as if it was a method of the machine. */
  run<T>(name: string, call: () => Promise<T>): Promise<T> {
    return this.#call(name, call) as Promise<T>;
  }

  /** Resolves when no call runs, or after `timeoutMs`. Later calls are not made, and never settle. */
  async shutDown(timeoutMs: number, alsoRunning: () => readonly Promise<unknown>[]): Promise<void> {
    const { clock } = this.#context;
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

  #call(name: string, call: () => unknown, progress?: Progress): unknown {
    if (this.#ignoresCalls) return new Promise(() => {});
    const { store } = this.#options;
    store.collect();
    const batch = atomic.has(name) ? this.#joinBatch() : undefined;
    let result: unknown;
    try {
      result = call();
      return result instanceof Promise ? this.#answer(name, result, batch, progress) : result;
    } finally {
      if (!(result instanceof Promise)) store.endCollecting();
    }
  }

  #joinBatch(): Batch {
    if (!this.#batch) {
      this.#batch = { calls: 0, stored: Promise.withResolvers() };
      this.#batch.stored.promise.catch(() => {}); // no call may wait for it
    }
    this.#batch.calls++;
    return this.#batch;
  }

  /** Settles as `result` does, once all changes that it may depend on are stored. */
  async #answer(
    name: string,
    result: Promise<unknown>,
    batch: Batch | undefined,
    progress?: Progress,
  ): Promise<unknown> {
    const ended = Promise.withResolvers<void>();
    this.#running.add(ended.promise);
    let outcome: PromiseSettledResult<unknown>;
    try {
      outcome = await this.#storedOutcome(name, result, batch, progress);
    } catch (failure) {
      if (rejectable.has(name)) throw failure;
      return new Promise(() => {});
    } finally {
      this.#running.delete(ended.promise);
      ended.resolve();
    }
    if (outcome.status === 'rejected') throw outcome.reason;
    return outcome.value;
  }

  /** Rejects if the call takes too long, or if changes cannot be stored. */
  async #storedOutcome(
    name: string,
    result: Promise<unknown>,
    batch: Batch | undefined,
    progress?: Progress,
  ): Promise<PromiseSettledResult<unknown>> {
    const { store } = this.#options;
    let outcome: PromiseSettledResult<unknown>;
    try {
      [outcome] = await this.#inTime(name, Promise.allSettled([result]), progress);
    } catch (fault) {
      batch?.stored.reject(fault); // its changes are incomplete and must not be stored; so the collecting does not end
      throw fault;
    }
    store.endCollecting();
    if (batch && --batch.calls === 0) {
      this.#batch = undefined;
      batch.stored.resolve(this.#flush(name));
    }
    const changes = batch ?? this.#batch;
    const stored = changes ? changes.stored.promise : this.#flush(name);
    if (!batch && outcome.status === 'rejected') {
      stored?.catch(() => {}); // the SDK may not wait for it
      return outcome;
    }
    await stored;
    return outcome;
  }

  #flush(name: string): Promise<void> | undefined {
    const stored = this.#options.store.flush();
    return stored && this.#inTime(name, stored);
  }

  /** Settles as `work` does. After `callTimeoutMs` without progress it reports a fault and rejects. */
  #inTime<T>(name: string, work: Promise<T>, progress?: Progress): Promise<T> {
    const { clock } = this.#context;
    return new Promise((resolve, reject) => {
      let timer: TimerHandle;
      const endTimer = (): void => {
        clock.clearTimeout(timer);
        this.#timers.delete(timer);
      };
      const startTimer = (): void => {
        timer = clock.setTimeout(() => {
          endTimer();
          reject(this.#reportFault(name));
        }, this.#options.callTimeoutMs);
        this.#timers.add(timer);
      };
      const restartTimer = (): void => {
        if (!this.#timers.has(timer)) return; // it has expired, or the guard has shut down
        endTimer();
        startTimer();
      };
      startTimer();
      if (progress) progress.noteProgress = restartTimer;
      work.then(resolve, reject).finally(endTimer);
    });
  }

  #reportFault(name: string): MatrixClientManagerError {
    const { userId, callTimeoutMs, onFault } = this.#options;
    const message =
      `the crypto library did not finish ${name} for ${userId} within ${callTimeoutMs} ms; ` +
      'the client has to be restarted';
    const error = new MatrixClientManagerError('CLIENT_FAILED', message, { userId });
    if (!this.#hasFaulted) {
      this.#hasFaulted = true;
      this.#context.logger.error({ userId, err: error }, 'a call of the crypto library does not settle');
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
      this.#context.logger.warn({ userId: this.#options.userId, err: error }, 'the crypto library cannot be closed');
    }
  }
}
