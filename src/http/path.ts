import { MatrixClientManagerError } from '../core/errors.js';
import { describe } from '../core/ids.js';

/**
 * Builds a request path in which every value is percent-encoded: path`/rooms/${roomId}/send/${type}/${txnId}`.
 * Throws `INVALID_OPTIONS` for a value that no path can hold as one segment, whatever its encoding.
 */
export function path(parts: TemplateStringsArray, ...values: string[]): string {
  return parts.reduce((built, part, index) => built + segment(values[index - 1]) + part);
}

function segment(value: unknown): string {
  // URL parsers drop dots, also percent-encoded ones, and with two of them the segment before.
  if (typeof value === 'string' && !/^\.{0,2}$/.test(value) && value.isWellFormed()) return encodeURIComponent(value);
  const message = `expected an id that can stand in a URL, got ${describe(value)}`;
  throw new MatrixClientManagerError('INVALID_OPTIONS', message);
}
