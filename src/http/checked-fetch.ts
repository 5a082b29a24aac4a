import { MatrixClientManagerError } from '../core/errors.js';
import { isObject } from '../core/raw-event.js';
import type { Fetch } from '../core/ports/transport.js';

/** Wraps the application's fetch function. Rejects with `INVALID_RESPONSE` if it resolves to anything but a Response. */
export function checkedFetch(fetch: Fetch): Fetch {
  return async (input, init) => {
    const response: unknown = await fetch(input, init);
    if (isResponse(response)) return response;
    throw new MatrixClientManagerError('INVALID_RESPONSE', 'the fetch function did not return a Response');
  };
}

function isResponse(response: unknown): response is Response {
  if (!isObject(response)) return false;
  const { status, headers, text, body } = response as { [Part in keyof Response]?: unknown };
  const hasHeaders = isObject(headers) && typeof headers.get === 'function';
  return Number.isInteger(status) && hasHeaders && typeof text === 'function' && body !== undefined;
}
