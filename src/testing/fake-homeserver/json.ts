import { MatrixError } from './matrix-error.js';

/** A JSON object with unknown members. */
export type JsonObject = Record<string, unknown>;

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Returns `value` if it is an object, else an empty object. */
export function objectOrEmpty(value: unknown): JsonObject {
  return isJsonObject(value) ? value : {};
}

/** Returns the strings of an array, or undefined if `value` is not an array. */
export function stringsOf(value: unknown): string[] | undefined {
  return Array.isArray(value) ? value.filter((item): item is string => typeof item === 'string') : undefined;
}

/** Returns the string under `key`. Throws 400 with Synapse's message if it is missing. */
export function requiredString(body: JsonObject, key: string): string {
  const value = body[key];
  if (value === undefined) throw new MatrixError(400, 'M_MISSING_PARAM', `Missing params: ['${key}']`);
  if (typeof value !== 'string') throw new MatrixError(400, 'M_INVALID_PARAM', `'${key}' must be a string`);
  return value;
}

/**
 * Throws 400 if event content is not canonical JSON: all numbers have to be safe integers.
 * @see https://spec.matrix.org/v1.16/appendices/#canonical-json
 */
export function assertCanonical(value: unknown): void {
  if (typeof value === 'number') {
    if (!Number.isInteger(value)) throw new MatrixError(400, 'M_BAD_JSON', 'Bad JSON value: float');
    if (!Number.isSafeInteger(value)) throw new MatrixError(400, 'M_BAD_JSON', 'JSON integer out of range');
  } else if (Array.isArray(value)) {
    value.forEach(assertCanonical);
  } else if (isJsonObject(value)) {
    for (const key in value) assertCanonical(value[key]);
  }
}
