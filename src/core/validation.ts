import * as v from 'valibot';
import type { Clock } from './clock.js';
import { invalidOptions, isManagerError } from './errors.js';
import { assertEventId, assertRoomAlias, assertRoomId, assertUserId, describe, isRoomAlias } from './ids.js';
import type { Logger } from './logger.js';
import { isObject } from './raw-event.js';

const MAX_SHOWN = 80;

/** A schema of an argument. Its message completes the sentence "expected `x` to be ...", with what was got instead. */
export type Schema<T> = v.GenericSchema<unknown, T>;

/** A schema for each option. An optional one may return undefined, which counts as absent. */
export type Entries<T> = {
  readonly [Name in keyof T]-?: Schema<object extends Pick<T, Name> ? T[Name] | undefined : T[Name]>;
};

/**
 * The schema of an object with exactly these options, which it copies without the absent ones. Each option is read once,
 * so that a getter cannot return another value after the check.
 */
export function optionsOf<T extends object>(entries: Entries<T>): Schema<T> {
  const names = Object.keys(entries);
  const schema = v.pipe(
    object<Readonly<Record<string, unknown>>>(),
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
    v.transform((output) => Object.fromEntries(Object.entries(output).filter(([, value]) => value !== undefined))),
  );
  return schema as unknown as Schema<T>;
}

/**
 * Checks the options of `owner`, such as `sendMessage()`, and returns a copy. Throws `INVALID_OPTIONS`, or
 * `INVALID_USER_ID` for an invalid user id.
 */
export function checkOptions<T>(owner: string, schema: Schema<T>, options: unknown): T {
  return check('options', ` of ${owner}`, schema, options);
}

/** Checks the argument `name` and returns it. Throws like {@link checkOptions}. */
export function checkArgument<T>(name: string, schema: Schema<T>, value: unknown): T {
  return check(name, '', schema, value);
}

/** Checks the arguments of a method that adds a listener. Throws `INVALID_OPTIONS`. */
export function checkListener(events: readonly string[], event: string, listener: unknown): void {
  checkArgument('listener', functionOf(), listener);
  if (events.includes(event)) return;
  throw invalidOptions(`there is no event ${describe(event)}; the events are ${events.join(', ')}`);
}

function check<T>(name: string, ofOwner: string, schema: Schema<T>, value: unknown): T {
  let parsed: v.SafeParseResult<Schema<T>>;
  try {
    parsed = v.safeParse(schema, value, { abortEarly: true });
  } catch (error) {
    if (isManagerError(error)) throw error;
    throw invalidOptions(`\`${name}\`${ofOwner} cannot be read: reading it throws`, { cause: error });
  }
  if (parsed.success) return parsed.output;
  const [issue] = parsed.issues;
  const path = v.getDotPath(issue) ?? name;
  if (issue.type !== 'raw_check') throw invalidOptions(`expected \`${path}\`${ofOwner} to be ${issue.message}`);
  const unknown = path.slice(0, MAX_SHOWN).toWellFormed();
  throw invalidOptions(`there is no option \`${unknown}\`${ofOwner}; the options are ${issue.message}`);
}

/**
 * The schema of a value that passes `isValid`.
 * @param got - describes another value for the error. @default its type, because a misplaced value may be a secret
 */
export function checkedAs<T>(
  expected: string | ((value: unknown) => string),
  isValid: (value: unknown) => boolean,
  got: (value: unknown) => string = withoutContent,
): Schema<T> {
  return v.custom<T>(isValid, ({ input }) => {
    return `${typeof expected === 'string' ? expected : expected(input)}, got ${got(input)}`;
  });
}

/** Unicode text, which may be empty. */
export const text = checkedAs<string>('a string of Unicode text', isText);

/** Unicode text that is not empty. */
export const name = checkedAs<string>('a non-empty string of Unicode text', isName);

export const flag = checkedAs<boolean>('true or false', (value) => typeof value === 'boolean', shown);

export const signal = checkedAs<AbortSignal>('an AbortSignal', (value) => value instanceof AbortSignal);

export const clock = withMethods<Clock>('now', 'setTimeout', 'clearTimeout');
export const logger = withMethods<Logger>('debug', 'info', 'warn', 'error');

export const userId = fromAssertion<string>(assertUserId);
export const roomId = fromAssertion<string>(assertRoomId);
export const roomAlias = fromAssertion<string>(assertRoomAlias);
export const roomIdOrAlias = fromAssertion<string>((value) => {
  if (typeof value !== 'string' || !isRoomAlias(value)) assertRoomId(value);
});
export const eventId = fromAssertion<string>(assertEventId);

export function wholeNumber(min: number, max = Number.MAX_SAFE_INTEGER): Schema<number> {
  const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`;
  const isInRange = (value: unknown): boolean => Number.isInteger(value) && isBetween(value, min, max);
  return checkedAs<number>(`a whole number ${range}`, isInRange, shown);
}

export function wholeNumberOrInfinity(min: number): Schema<number> {
  const whole = wholeNumber(min);
  const isInRange = (value: unknown): boolean => value === Infinity || v.is(whole, value);
  return checkedAs<number>(`a whole number of at least ${min}, or Infinity`, isInRange, shown);
}

/** A duration in milliseconds. Infinity means "never". */
export function durationMs(min: number, max = Infinity): Schema<number> {
  const range = max === Infinity ? `of at least ${min}` : `from ${min} to ${max}`;
  return checkedAs<number>(`a number ${range}`, (value) => isBetween(value, min, max), shown);
}

export function oneOf<const Value extends string>(...values: readonly Value[]): Schema<Value> {
  return checkedAs<Value>(values.join(', '), (value) => values.includes(value as Value), shown);
}

export function listOf<T>(item: Schema<T>): Schema<T[]> {
  return v.pipe(checkedAs<unknown[]>('a list', Array.isArray), v.array(item));
}

/** An optional value. `null` counts as absent, because databases return it for missing values. */
export function nullAsAbsent<T>(schema: Schema<T>): Schema<T | undefined> {
  return v.pipe(
    v.nullish(schema),
    v.transform((value) => value ?? undefined),
  );
}

/** Accepts any value. The value is checked elsewhere. */
export function unchecked<T>(): Schema<T> {
  return v.custom<T>(() => true);
}

export function object<T extends object>(): Schema<T> {
  return checkedAs<T>('an object', isObject);
}

// oxlint-disable-next-line typescript/no-explicit-any -- the type of any function
export function functionOf<T extends (...args: any[]) => unknown>(): Schema<T> {
  return checkedAs<T>('a function', (value) => typeof value === 'function');
}

/** An object that is not copied, because it has methods. */
export function withMethods<T extends object>(...methods: readonly (keyof T & string)[]): Schema<T> {
  const missing = (value: unknown): string | undefined =>
    methods.find((method) => typeof (value as T | null | undefined)?.[method] !== 'function');
  return checkedAs<T>(
    (value) => `an object with a method ${missing(value)}()`,
    (value) => missing(value) === undefined,
  );
}

/** Makes a schema from an assertion that throws its own error. */
function fromAssertion<T>(assert: (value: unknown) => void): Schema<T> {
  return v.custom<T>((value) => {
    assert(value);
    return true;
  });
}

/** Whether it is well-formed Unicode text, which may be empty. */
export function isText(value: unknown): value is string {
  return typeof value === 'string' && value.isWellFormed();
}

export function isName(value: unknown): value is string {
  return isText(value) && value !== '';
}

function isBetween(value: unknown, min: number, max: number): boolean {
  return typeof value === 'number' && value >= min && value <= max;
}

/** Describes a value for an error. For values that are no secret, even if they stand in the wrong place. */
export function shown(value: unknown): string {
  return typeof value === 'number' ? String(value) : describe(value);
}

/** Describes a value that may be a secret, for an error. */
export function withoutContent(value: unknown): string {
  if (typeof value !== 'string') return describe(value);
  return value.isWellFormed() ? `a string of ${value.length} characters` : 'a string with an unpaired surrogate';
}
