import { abortedError } from '../core/abort.js';
import type { Clock, TimerHandle } from '../core/clock.js';
import type { EventReceiver } from '../core/ports/event-source.js';
import type { SessionEngine } from '../core/ports/user-engine.js';
import type { MatrixClient } from '../sdk/matrix-client.js';
import { UnreadCounts } from '../sync/unread-counts.js';
import { MemoryEventLog } from './memory-event-source.js';
import type { MemoryEventSource } from './memory-event-source.js';

export interface MemoryUserEngineOptions {
  /** The room's messages so far, and where the engine adds those that it receives. @default a room without messages */
  readonly log?: MemoryEventLog;
  /** Where to resume; undefined: from the start. */
  readonly position?: string | undefined;
}

/** A user's client for tests without a homeserver. It receives what the test passes to {@link say}. */
export class MemoryUserEngine implements SessionEngine<MatrixClient> {
  readonly deviceId = 'DEVICE';
  readonly stalledRooms = 0;
  readonly isIncomplete = false;
  readonly isCurrent = true;
  readonly hasUnloadedRooms = false;
  readonly resumesFrom: string | undefined;
  readonly overdueCallbacks = 0;
  readonly unread = new UnreadCounts(new Map());
  lastSyncAt: number | undefined;
  readonly #clock: Clock;
  readonly #onReceived: (text: string) => void;
  /** Messages that were sent and not received yet. */
  #unreceived: string[] = [];
  #isRunning = false;
  #restMs: number | undefined;
  #timer: TimerHandle;
  #sdkClient: object | undefined;
  readonly #log: MemoryEventLog;
  readonly #source: MemoryEventSource;

  /** @param onReceived - called with each message once the engine has asked for it */
  constructor(
    clock: Clock,
    onReceived: (text: string) => void = () => {},
    { log = new MemoryEventLog(), position }: MemoryUserEngineOptions = {},
  ) {
    this.#clock = clock;
    this.#onReceived = onReceived;
    this.#log = log;
    this.#source = log.open(position);
    this.resumesFrom = position;
  }

  connect(receiver: EventReceiver): void {
    this.#source.connect(receiver);
  }

  fetchMissedEvents(backlog: boolean): void {
    this.#source.fetchMissedEvents(backlog);
  }

  /** A message is sent to the user. */
  say(text: string): void {
    this.#unreceived.push(text);
    if (this.#restMs === undefined) this.#receive();
  }

  async start(signal: AbortSignal): Promise<void> {
    if (signal.aborted) throw abortedError('starting', signal.reason);
    this.#isRunning = true;
    await this.#source.start();
    this.#receive();
  }

  async stop(): Promise<void> {
    this.#isRunning = false;
    this.#clock.clearTimeout(this.#timer);
    await this.#source.stop();
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

  async openEncryption(): Promise<void> {}

  hasEncryptionEvent(): boolean {
    return false;
  }

  memberOf(): undefined {}

  rooms(): [] {
    return [];
  }

  accountData(): undefined {}

  askForPresence(): void {}

  checkRooms(): void {}

  #receive(): void {
    if (!this.#isRunning) return;
    this.lastSyncAt = this.#clock.now();
    for (const text of this.#unreceived.splice(0)) {
      this.#log.say(text);
      this.#onReceived(text);
    }
  }
}
