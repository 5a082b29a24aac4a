import { createHash } from 'node:crypto';
import type { ClientEvent } from '../core/client-event.js';
import type { Context } from '../core/context.js';
import { isError } from '../core/is-error.js';
import { jsonCopy } from '../core/json-copy.js';
import { jsonText } from '../core/json-depth.js';
import type { ManagerLifecycle } from '../core/lifecycle.js';
import type { Claim } from '../core/ports/claim.js';
import { toStoredError } from '../sending/send-failures.js';
import type { StoredDeadLetter, StoredError, Storage } from '../storage/storage.js';
import { storageLimits } from '../storage/storage.js';
import type { EventHub } from './event-hub.js';

/** An event for which a callback failed `callbackAttempts` times, as `deadLetters` lists it. */
export interface DeadLetter {
  /** Pass it to `retryDeadLetter`. */
  readonly id: string;
  readonly event: ClientEvent;
  /** The error of the last attempt. */
  readonly error: StoredError;
  /** Milliseconds since the Unix epoch. */
  readonly failedAt: number;
  readonly attempts: number;
}

function toStoredDeadLetter(event: ClientEvent, error: unknown, attempts: number, failedAt: number): StoredDeadLetter {
  const json = jsonText(event);
  const id =
    'eventId' in event && event.type !== 'receipt'
      ? event.eventId
      : createHash('sha256').update(json).digest('base64url');
  const stored = toStoredError(isError(error) ? error : new Error(String(error)));
  return { id, event: json, error: stored, failedAt, attempts };
}

function toDeadLetter(stored: StoredDeadLetter): DeadLetter {
  return { ...stored, event: JSON.parse(stored.event) as ClientEvent };
}

export interface DeadLettersOptions {
  readonly storage: Storage;
  readonly events: EventHub;
  readonly lifecycle: ManagerLifecycle;
  /** Calls the callbacks that failed for the event once more. Resolves to whether they succeeded. */
  readonly redeliver: (event: ClientEvent, signal: AbortSignal) => Promise<boolean>;
}

/** The stored events for which callbacks failed. */
export class DeadLetters {
  readonly #context: Context;
  readonly #options: DeadLettersOptions;

  constructor(context: Context, options: DeadLettersOptions) {
    this.#context = context;
    this.#options = options;
  }

  async store(event: ClientEvent, error: unknown, attempts: number, claim: Claim | undefined): Promise<void> {
    const { clock, logger, diagnostics } = this.#context;
    const { storage, events } = this.#options;
    const { userId } = event;
    const letter = toStoredDeadLetter(event, error, attempts, clock.now());
    await storage.addDeadLetter(userId, letter, claim).catch((err: unknown) => {
      logger.error({ userId, err }, 'storing a dead letter failed; it is retried');
      throw err;
    });
    diagnostics.publish('deadLetter', { userId });
    events.emit('deadLetter', { userId, event: jsonCopy(event), error });
  }

  /** The user's dead letters, oldest first. */
  async list(userId: string): Promise<DeadLetter[]> {
    const limit = storageLimits.deadLetters;
    return (await this.#options.storage.listDeadLetters(userId, { limit })).map(toDeadLetter);
  }

  /**
   * Resolves to true after success, and deletes the dead letter; to false if a callback failed or the id is unknown.
   */
  async retry(userId: string, id: string): Promise<boolean> {
    const { storage, lifecycle, redeliver } = this.#options;
    const letter = (await this.list(userId)).find((each) => each.id === id);
    if (!letter) return false;
    if (!(await lifecycle.untilCallsAborted(redeliver(letter.event, lifecycle.signal)))) return false;
    return storage.deleteDeadLetter(userId, id);
  }
}
