import { createHash } from 'node:crypto';
import type { ClientEvent } from '../core/client-event.js';
import { isManagerError } from '../core/errors.js';
import { isError } from '../core/is-error.js';
import { jsonText } from '../core/json-depth.js';
import type { StoredDeadLetter, StoredError } from '../storage/dead-letter.js';

/** An event that a callback failed on as often as it may, as `deadLetters` lists it. */
export interface DeadLetter {
  /** What `retryDeadLetter` takes. */
  readonly id: string;
  readonly event: ClientEvent;
  /** The last failure. */
  readonly error: StoredError;
  /** Milliseconds since the Unix epoch. */
  readonly failedAt: number;
  readonly attempts: number;
}

export function toStored(event: ClientEvent, error: unknown, attempts: number, failedAt: number): StoredDeadLetter {
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

export function fromStored(stored: StoredDeadLetter): DeadLetter {
  return { ...stored, event: JSON.parse(stored.event) as ClientEvent };
}
