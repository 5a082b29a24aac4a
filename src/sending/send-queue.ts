import { KeyedQueue } from '../core/keyed-queue.js';
import { noTelemetry } from '../core/telemetry.js';
import type { Telemetry } from '../core/telemetry.js';

/** Runs the sends of each user to each room in the order of the calls. Queues of other rooms are independent. */
export class SendQueue {
  readonly #telemetry: Telemetry;
  readonly #roomQueues = new KeyedQueue();
  #queued = 0;

  constructor(telemetry: Telemetry = noTelemetry) {
    this.#telemetry = telemetry;
  }

  /** How many messages are queued or being sent. */
  get queued(): number {
    return this.#queued;
  }

  /**
   * Runs `send` after the user's earlier sends to the room. The place in the queue is taken synchronously. When
   * `signal` is aborted, this rejects at once, and a `send` that has not started never runs.
   */
  async run<T>(userId: string, roomId: string, send: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    this.#queued++;
    try {
      return await this.#telemetry.send(userId, roomId, () =>
        this.#roomQueues.run(`${userId} ${roomId}`, send, signal, `sending to ${roomId}`),
      );
    } finally {
      this.#queued--;
    }
  }

  /** Resolves when all queued messages have been sent or have failed. */
  settled(): Promise<void> {
    return this.#roomQueues.settled();
  }
}
