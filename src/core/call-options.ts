import * as v from 'valibot';
import { isManagerError, MatrixClientManagerError } from './errors.js';
import { assertEventId, assertRoomId, assertUserId, describe } from './ids.js';
import { isObject } from './raw-event.js';

const MAX_SHOWN = 80;

/** A schema of options; made by {@link optionsOf}. */
export type OptionsSchema<T> = v.GenericSchema<unknown, T>;

/**
 * The schema of an object with exactly these options. The message of each option's schema completes the sentence
 * "expected `x` to be ...". Each option is read once, so that a getter cannot return another value after the check.
 */
export function optionsOf<T extends object>(entries: {
  readonly [Name in keyof T]-?: v.GenericSchema<unknown, T[Name]>;
}): OptionsSchema<T> {
  const names = Object.keys(entries);
  const schema = v.pipe(
    v.custom<Readonly<Record<string, unknown>>>(isObject, 'an object'),
    v.rawCheck(({ dataset, addIssue }) => {
      if (!dataset.typed) return;
      const input = dataset.value;
      const unknown = Object.keys(input).find((name) => !names.includes(name));
      if (unknown === undefined) return;
      const path = [{ type: 'object', origin: 'key', input, key: unknown, value: undefined }] as const;
      addIssue({ message: names.join(', '), path: [...path] });
    }),
    v.transform((input) => Object.fromEntries(names.map((name) => [name, input[name]]))),
    v.object(entries as v.ObjectEntries),
  );
  return schema as unknown as OptionsSchema<T>;
}

/** Checks the options of `call` and returns them. Throws `INVALID_OPTIONS`, or `INVALID_USER_ID` for an invalid user id. */
export function readCallOptions<T>(call: string, schema: OptionsSchema<T>, options: unknown): T {
  let parsed: v.SafeParseResult<OptionsSchema<T>>;
  try {
    parsed = v.safeParse(schema, options, { abortEarly: true, abortPipeEarly: true });
  } catch (error) {
    if (isManagerError(error)) throw error;
    throw invalid(`the options of ${call} cannot be read: reading them throws`, error);
  }
  if (parsed.success) return parsed.output;
  const [issue] = parsed.issues;
  const path = v.getDotPath(issue);
  if (issue.type === 'raw_check') throw unknownOption(call, path ?? '', issue.message);
  throw invalid(`expected \`${path ?? 'options'}\` of ${call} to be ${issue.message}, got ${shown(issue.input)}`);
}

/** Throws `INVALID_OPTIONS` for an unknown option of `owner`. For options that are not checked by a schema. */
export function assertKnownOptions<T extends object>(
  owner: string,
  options: T,
  names: readonly (keyof T & string)[],
): void {
  const known: readonly string[] = names;
  const unknown = Object.keys(options).find((name) => !known.includes(name));
  if (unknown !== undefined) throw unknownOption(owner, unknown, names.join(', '));
}

function unknownOption(owner: string, name: string, known: string): MatrixClientManagerError {
  const shown = name.slice(0, MAX_SHOWN).toWellFormed();
  return invalid(`there is no option \`${shown}\` of ${owner}; the options are ${known}`);
}

/** Unicode text, which may be empty. */
export const text = v.pipe(v.string('a string'), v.check(isWellFormed, 'Unicode text'));

/** Unicode text that is not empty. */
export const name = v.pipe(
  v.string('a string with content'),
  v.nonEmpty('a string with content'),
  v.check(isWellFormed, 'Unicode text'),
);

export const flag = v.boolean('a boolean');

export const signal = v.instance(AbortSignal, 'an AbortSignal');

export const userId = fromAssertion<string>(assertUserId);
export const roomId = fromAssertion<string>(assertRoomId);
export const eventId = fromAssertion<string>(assertEventId);

export function wholeNumber(min: number, max: number): v.GenericSchema<unknown, number> {
  const isInRange = (value: unknown): boolean =>
    typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max;
  const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`;
  return v.custom<number>(isInRange, `a whole number ${range}`);
}

/** A duration in milliseconds. Infinity means "never". */
export function durationMs(min: number): v.GenericSchema<unknown, number> {
  const isInRange = (value: unknown): boolean => typeof value === 'number' && value >= min;
  return v.custom<number>(isInRange, `a number of at least ${min}`);
}

export function oneOf<const Value extends string>(...values: readonly Value[]): v.GenericSchema<unknown, Value> {
  return v.picklist(values, values.join(', '));
}

/** An optional value. `null` counts as absent, because databases return it for missing values. */
export function nullAsAbsent<T>(schema: v.GenericSchema<unknown, T>): v.GenericSchema<unknown, T | undefined> {
  return v.pipe(
    v.nullish(schema),
    v.transform((value) => value ?? undefined),
  );
}

/** Accepts any value. The value is checked elsewhere. */
export function unchecked<T>(): v.GenericSchema<unknown, T> {
  return v.custom<T>(() => true);
}

export function object<T extends object>(): v.GenericSchema<unknown, T> {
  return v.custom<T>(isObject, 'an object');
}

// oxlint-disable-next-line typescript/no-explicit-any -- the type of any function
export function functionOf<T extends (...args: any[]) => unknown>(): v.GenericSchema<unknown, T> {
  return v.custom<T>((value) => typeof value === 'function', 'a function');
}

/** Makes a schema from an assertion that throws its own error. */
function fromAssertion<T>(assert: (value: unknown) => void): v.GenericSchema<unknown, T> {
  return v.custom<T>((value) => {
    assert(value);
    return true;
  });
}

function isWellFormed(value: string): boolean {
  return value.isWellFormed();
}

/** Describes a value for an error. A string that is not Unicode is not printed: it may be a secret. */
function shown(value: unknown): string {
  if (typeof value === 'string' && !value.isWellFormed()) return 'a string with an unpaired surrogate';
  return typeof value === 'number' ? String(value) : describe(value);
}

function invalid(message: string, cause?: unknown): MatrixClientManagerError {
  return new MatrixClientManagerError('INVALID_OPTIONS', message, { cause });
}

/** The options of every call that may wait. */
export interface CallOptions {
  /** Ends the call immediately with `ABORTED`. */
  readonly signal?: AbortSignal | undefined;
}

export const callSchema = optionsOf<CallOptions>({ signal: v.optional(signal) });
