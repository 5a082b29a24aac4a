import { MatrixError } from './matrix-error.js';

/** A JSON object of which only its being one is known. */
export type JsonObject = Record<string, unknown>;

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `value` when it is an object, otherwise an empty one. */
export function objectOrEmpty(value: unknown): JsonObject {
  return isJsonObject(value) ? value : {};
}

/** The strings of an array; undefined when it is no array. */
export function stringsOf(value: unknown): string[] | undefined {
  return Array.isArray(value) ? value.filter((item): item is string => typeof item === 'string') : undefined;
}

/** The string under `key`; 400 in Synapse's words when it is missing. */
export function requiredString(body: JsonObject, key: string): string {
  const value = body[key];
  if (value === undefined) throw new MatrixError(400, 'M_MISSING_PARAM', `Missing params: ['${key}']`);
  if (typeof value !== 'string') throw new MatrixError(400, 'M_INVALID_PARAM', `'${key}' must be a string`);
  return value;
}

/**
 * Event content is canonical JSON: integers only, within what a double holds exactly.
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
