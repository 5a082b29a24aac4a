import { types } from 'node:util';
import { invalidOptions } from './errors.js';

/** Synapse rejects 300 levels, and the SDK's crypto library reads at most 128. */
const MAX_DEPTH = 100;
const MAX_PATH_LENGTH = 200;

/**
 * Copies a caller's value as it will be sent, so that a getter, a proxy or a later change cannot alter the checked value.
 * Throws `INVALID_OPTIONS` with the path of a value that an event cannot contain: values without a JSON form, circular
 * references, numbers that canonical JSON forbids, unpaired surrogates, and values that are too deep or too large.
 * Treats `undefined` as `JSON.stringify` does.
 * @param name - the name of the value in the error
 * @param maxBytes - the longest JSON text, as UTF-8
 * @param within - what the value is sent in. A request, unlike an event, may contain fractions and large numbers
 * @see https://spec.matrix.org/v1.16/appendices/#canonical-json
 */
export function toSendableJson<T>(value: T, name: string, maxBytes = Infinity, within: Within = 'an event'): T {
  return new Copier(name, maxBytes, within).copy(value) as T;
}

type Within = 'an event' | 'a request';

class Copier {
  readonly #name: string;
  readonly #maxBytes: number;
  readonly #within: Within;
  /** The keys from the value to the part that is being copied. */
  readonly #path: string[] = [];
  /** The objects around that part, to detect circular references. */
  readonly #ancestors = new Set<object>();
  #bytes = 0;

  constructor(name: string, maxBytes: number, within: Within) {
    this.#name = name;
    this.#maxBytes = maxBytes;
    this.#within = within;
  }

  copy(value: unknown): unknown {
    return this.#copyJson(this.#toJsonValue(value, ''));
  }

  #copyJson(value: unknown): unknown {
    if (typeof value === 'string') this.#countBytes(this.#jsonBytes(value));
    else if (typeof value === 'number') this.#countBytes(String(this.#assertNumber(value)).length);
    else if (value === null || typeof value === 'boolean') this.#countBytes(String(value).length);
    else if (typeof value === 'object') return this.#copyObject(value);
    else if (value !== undefined) this.#fail(`expected JSON in ${this.#within}, got a ${typeof value}`);
    return value;
  }

  /** Recurses at most `MAX_DEPTH` times. */
  #copyObject(source: object): object {
    if (this.#ancestors.has(source)) this.#fail(`expected JSON in ${this.#within}, got a circular reference`);
    if (this.#ancestors.size === MAX_DEPTH) {
      this.#fail(`expected at most ${MAX_DEPTH} levels of objects and arrays in ${this.#within}, got more`);
    }
    if (!isJsonObject(source)) this.#fail(`expected JSON in ${this.#within}, got an object that JSON has no form for`);
    const isArray = this.#runCallerCode(() => Array.isArray(source));
    const copy = isArray ? [] : {};
    const keys = isArray ? undefined : this.#runCallerCode(() => Object.keys(source));
    const length = keys?.length ?? (Number(this.#read(source, 'length')) || 0); // a proxy may return any value
    this.#countBytes(length === 0 ? 2 : 1);
    this.#ancestors.add(source);
    for (let index = 0; index < length; index++) {
      const key = keys?.[index] ?? String(index);
      this.#path.push(key);
      const inner = this.#toJsonValue(this.#read(source, key), key);
      if (inner !== undefined || isArray) {
        if (keys) this.#countBytes(this.#jsonBytes(key) + 1);
        setOwn(copy, key, this.#copyJson(inner ?? null));
        this.#countBytes(1); // the comma, or the bracket after the last one
      }
      this.#path.pop();
    }
    this.#ancestors.delete(source);
    return copy;
  }

  #read(source: object, key: string): unknown {
    return this.#runCallerCode(() => (source as Readonly<Record<string, unknown>>)[key]);
  }

  /** The result of `toJSON()` for a value that has that method, such as a date. */
  #toJsonValue(value: unknown, key: string): unknown {
    if (typeof value !== 'object' || value === null) return value;
    return this.#runCallerCode(() => {
      const { toJSON } = value as { readonly toJSON?: unknown };
      return typeof toJSON === 'function' ? (toJSON.call(value, key) as unknown) : value;
    });
  }

  /** Runs the caller's code: getters, proxies, `toJSON`. */
  #runCallerCode<T>(run: () => T): T {
    try {
      return run();
    } catch (error) {
      return this.#fail(`expected JSON in ${this.#within}, got something that throws when it is read`, error);
    }
  }

  #assertNumber(number: number): number {
    if (Number.isSafeInteger(number)) return number;
    if (this.#within === 'a request') {
      return Number.isFinite(number) ? number : this.#fail('expected finite numbers in a request, got another');
    }
    return this.#fail(
      'expected whole numbers below 2^53 in an event, got another',
      undefined,
      ' (send it as a string)',
    );
  }

  /** The size of a string in JSON, in bytes. */
  #jsonBytes(text: string): number {
    if (text.length > this.#maxBytes) this.#tooLarge();
    if (!text.isWellFormed()) this.#fail(`expected Unicode text in ${this.#within}, got an unpaired surrogate`);
    return Buffer.byteLength(JSON.stringify(text));
  }

  #countBytes(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes > this.#maxBytes) this.#tooLarge();
  }

  #tooLarge(): never {
    throw invalidOptions(
      `expected \`${this.#name}\` to be at most ${this.#maxBytes} bytes of JSON, got more; upload large content as media`,
    );
  }

  #fail(problem: string, cause?: unknown, remedy = ''): never {
    const path = [this.#name, ...this.#path].join('.').toWellFormed();
    const shown = path.length > MAX_PATH_LENGTH ? `${path.slice(0, MAX_PATH_LENGTH).toWellFormed()}…` : path;
    throw invalidOptions(`${problem} at \`${shown}\`${remedy}`, { cause });
  }
}

/** Rejects objects that JSON would turn into `{}` or lists of numbers, such as a Map or a Buffer: a caller's mistake. */
function isJsonObject(value: object): boolean {
  const { isBoxedPrimitive, isMap, isPromise, isRegExp, isSet, isWeakMap, isWeakSet } = types;
  const isOther = [isBoxedPrimitive, isMap, isPromise, isRegExp, isSet, isWeakMap, isWeakSet].some((is) => is(value));
  return !isOther && !types.isAnyArrayBuffer(value) && !ArrayBuffer.isView(value);
}

/** Sets an own property. Assigning to `__proto__` would change the prototype instead. */
function setOwn(target: object, key: string, value: unknown): void {
  if (key === '__proto__') {
    Object.defineProperty(target, key, { value, configurable: true, enumerable: true, writable: true });
  } else {
    (target as Record<string, unknown>)[key] = value;
  }
}
