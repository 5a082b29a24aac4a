import { invalidOptions } from '../core/errors.js';
import { describe } from '../core/ids.js';

/**
 * Builds a request path in which every value is percent-encoded: path`/rooms/${roomId}/send/${type}/${txnId}`.
 * Throws `INVALID_OPTIONS` for a value that cannot be one path segment even when encoded, such as `..`.
 */
export function path(parts: TemplateStringsArray, ...values: string[]): string {
  return parts.reduce((built, part, index) => built + segment(values[index - 1]) + part);
}

function segment(value: unknown): string {
  // URL parsers remove the segments `.` and `..`, even percent-encoded, and with `..` also the segment before it.
  if (typeof value === 'string' && !/^\.{0,2}$/.test(value) && value.isWellFormed()) return encodeURIComponent(value);
  const message = `expected an id that is valid in a URL path, got ${describe(value)}`;
  throw invalidOptions(message);
}
