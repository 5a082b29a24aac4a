import { MatrixClientManagerError } from '../core/errors.js';
import { describe } from '../core/ids.js';
import { isObject } from '../core/raw-event.js';
import type { OutgoingFile } from '../messages/attachments.js';

/** The checks of arguments that every call of the manager makes before anything else. */

export function checkObject(name: string, value: unknown): void {
  if (!isObject(value)) throw invalid(name, 'an object', value);
}

export function checkOptionalString(name: string, value: unknown): void {
  if (value !== undefined && (typeof value !== 'string' || value === '')) {
    throw invalid(name, 'a string with content', value);
  }
}

export function checkWhole(name: string, value: unknown, min: number, max: number): void {
  const ok = typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max;
  if (!ok) throw invalid(name, `a whole number from ${min} to ${max}`, value);
}

export function checkBoolean(name: string, value: unknown): void {
  if (typeof value !== 'boolean') throw invalid(name, 'a boolean', value);
}

/** What can be told of a file before its body is read. */
export function checkFile(file: OutgoingFile): void {
  checkObject('file', file);
  if (typeof file.name !== 'string' || file.name === '') throw invalid('file.name', 'a string with content', file.name);
  checkOptionalString('file.mimeType', file.mimeType);
  if (file.size !== undefined) checkWhole('file.size', file.size, 0, Number.MAX_SAFE_INTEGER);
  if (file.info !== undefined) checkObject('file.info', file.info);
}

export function checkSignal(signal: unknown): void {
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw invalid('signal', 'an AbortSignal', signal);
}

export function invalid(name: string, expected: string, got: unknown): MatrixClientManagerError {
  const value = typeof got === 'number' ? String(got) : describe(got);
  return new MatrixClientManagerError('INVALID_OPTIONS', `expected \`${name}\` to be ${expected}, got ${value}`);
}
