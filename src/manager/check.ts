import { MatrixClientManagerError } from '../core/errors.js';
import { describe } from '../core/ids.js';
import { isObject } from '../core/raw-event.js';

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

export function checkSignal(signal: unknown): void {
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw invalid('signal', 'an AbortSignal', signal);
}

export function invalid(name: string, expected: string, got: unknown): MatrixClientManagerError {
  const value = typeof got === 'number' ? String(got) : describe(got);
  return new MatrixClientManagerError('INVALID_OPTIONS', `expected \`${name}\` to be ${expected}, got ${value}`);
}
