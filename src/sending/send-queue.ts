import type { Context } from '../core/context.js';
import { KeyedQueue } from '../core/keyed-queue.js';
import type { Diagnostics } from '../core/diagnostics.js';

/** Runs the sends of each user to each room in the order of the calls. Queues of other rooms are independent. */
export class SendQueue {
  readonly #diagnostics: Diagnostics;
  readonly #roomQueues = new KeyedQueue();
  #queued = 0;

  constructor({ diagnostics }: Pick<Context, 'diagnostics'>) {
    this.#diagnostics = diagnostics;
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
      return await this.#diagnostics.trace('send', { userId, roomId }, () =>
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
