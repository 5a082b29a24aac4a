import { abortedError } from '../core/abort.js';
import type { Clock, TimerHandle } from '../core/clock.js';
import type { MatrixClient } from '../sdk/matrix-client.js';
import type { ManagedClient } from '../users/client-slot.js';

/** A user's client for tests without a homeserver. It receives what the test passes to {@link say}. */
export class MemoryUserEngine implements ManagedClient {
  readonly deviceId = 'DEVICE';
  readonly stalledRooms = 0;
  readonly isIncomplete = false;
  readonly overdueCallbacks = 0;
  lastSyncAt: number | undefined;
  readonly #clock: Clock;
  readonly #onReceived: (text: string) => void;
  /** Messages that were sent and not received yet. */
  #unreceived: string[] = [];
  #isRunning = false;
  #restMs: number | undefined;
  #timer: TimerHandle;
  #sdkClient: object | undefined;

  /** @param onReceived - called with each message once the engine has asked for it */
  constructor(clock: Clock, onReceived: (text: string) => void = () => {}) {
    this.#clock = clock;
    this.#onReceived = onReceived;
  }

  /** A message is sent to the user. */
  say(text: string): void {
    this.#unreceived.push(text);
    if (this.#restMs === undefined) this.#receive();
  }

  async start(signal: AbortSignal): Promise<void> {
    if (signal.aborted) throw abortedError('starting', signal.reason);
    this.#isRunning = true;
    this.#receive();
  }

  async stop(): Promise<void> {
    this.#isRunning = false;
    this.#clock.clearTimeout(this.#timer);
  }

  rest(pollIntervalMs: number): void {
    this.#clock.clearTimeout(this.#timer);
    this.#restMs = pollIntervalMs;
    if (!this.#isRunning || pollIntervalMs === Infinity) return;
    this.#timer = this.#clock.setTimeout(() => {
      this.#receive();
      this.rest(pollIntervalMs);
    }, pollIntervalMs);
  }

  wake(): void {
    this.#clock.clearTimeout(this.#timer);
    this.#restMs = undefined;
    this.#receive();
  }

  async sdkClient(): Promise<MatrixClient> {
    return (this.#sdkClient ??= {}) as MatrixClient;
  }

  sdkClientIfMade(): MatrixClient | undefined {
    return this.#sdkClient as MatrixClient | undefined;
  }

  #receive(): void {
    if (!this.#isRunning) return;
    this.lastSyncAt = this.#clock.now();
    for (const text of this.#unreceived.splice(0)) this.#onReceived(text);
  }
}
