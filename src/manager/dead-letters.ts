import { createHash } from 'node:crypto';
import type { ClientEvent } from '../core/client-event.js';
import { isManagerError } from '../core/errors.js';
import { isError } from '../core/is-error.js';
import { jsonText } from '../core/json-depth.js';
import type { StoredDeadLetter, StoredError } from '../storage/dead-letter.js';

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

export function toStoredDeadLetter(
  event: ClientEvent,
  error: unknown,
  attempts: number,
  failedAt: number,
): StoredDeadLetter {
  const json = jsonText(event);
  const id =
    'eventId' in event && event.type !== 'receipt'
      ? event.eventId
      : createHash('sha256').update(json).digest('base64url');
  const { name, message } = isError(error) ? error : { name: 'Error', message: String(error) };
  return {
    id,
    event: json,
    error: { name, message, ...(isManagerError(error) && { code: error.code }) },
    failedAt,
    attempts,
  };
}

export function toDeadLetter(stored: StoredDeadLetter): DeadLetter {
  return { ...stored, event: JSON.parse(stored.event) as ClientEvent };
}
