import { MatrixClientManagerError } from '../core/errors.js';
import { isObject } from '../core/raw-event.js';
import type { Fetch } from '../core/ports/transport.js';

/** The application's fetch function, or `INVALID_RESPONSE` where it answers something that is no Response. */
export function checkedFetch(fetch: Fetch): Fetch {
  return async (input, init) => {
    const response: unknown = await fetch(input, init);
    if (isResponse(response)) return response;
    throw new MatrixClientManagerError('INVALID_RESPONSE', 'the fetch function answered something that is no Response');
  };
}

function isResponse(response: unknown): response is Response {
  if (!isObject(response)) return false;
  const { status, headers, text, body } = response as { [Part in keyof Response]?: unknown };
  const hasHeaders = isObject(headers) && typeof headers.get === 'function';
  return Number.isInteger(status) && hasHeaders && typeof text === 'function' && body !== undefined;
}
