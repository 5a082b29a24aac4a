import { types } from 'node:util';
import { invalidOptions } from './errors.js';

/** The limits of a caller's JSON value. */
export interface JsonLimits {
  /** Levels of nested objects and arrays. @default 100 */
  readonly maxDepth?: number;
  /** Length of the JSON text as UTF-8, in bytes. @default Infinity */
  readonly maxBytes?: number;
}

/** Synapse rejects 300 levels, and the SDK's crypto library reads at most 128. */
const MAX_DEPTH = 100;
const MAX_PATH_LENGTH = 200;

/** An object or array that is being copied. */
interface Frame {
  readonly source: object;
  readonly copy: object;
  /** Undefined for an array. */
  readonly keys: readonly string[] | undefined;
  readonly length: number;
  next: number;
}

/**
 * Copies a caller's value as it will be sent, so that a getter, a proxy or a later change cannot alter the checked value.
 * Throws `INVALID_OPTIONS` with the path of a value that an event cannot contain: values without a JSON form, circular
 * references, numbers that canonical JSON forbids, unpaired surrogates, and values that are too deep or too large.
 * Treats `undefined` as `JSON.stringify` does. Does not recurse.
 * @param name - the name of the value in the error
 * @see https://spec.matrix.org/v1.16/appendices/#canonical-json
 */
export function toSendableJson<T>(value: T, name: string, limits: JsonLimits = {}): T {
  return new Copier(name, limits).copy(value) as T;
}

class Copier {
  readonly #name: string;
  readonly #maxDepth: number;
  readonly #maxBytes: number;
  readonly #frames: Frame[] = [];
  /** The objects of {@link #frames}, to detect circular references. */
  readonly #ancestors = new Set<object>();
  #bytes = 0;

  constructor(name: string, { maxDepth = MAX_DEPTH, maxBytes = Infinity }: JsonLimits) {
    this.#name = name;
    this.#maxDepth = maxDepth;
    this.#maxBytes = maxBytes;
  }

  copy(value: unknown): unknown {
    const copy = this.#startCopy(this.#toJsonValue(value, ''));
    for (let frame = this.#frames.at(-1); frame; frame = this.#frames.at(-1)) {
      if (frame.next >= frame.length) {
        this.#frames.pop();
        this.#ancestors.delete(frame.source);
        continue;
      }
      frame.next++;
      const key = currentKey(frame);
      const inner = this.#toJsonValue(this.#read(frame.source, key), key);
      if (inner === undefined && frame.keys) continue;
      if (frame.keys) this.#countBytes(this.#jsonBytes(key) + 1);
      setOwn(frame.copy, key, this.#startCopy(inner ?? null));
      this.#countBytes(1); // the comma, or the bracket after the last one
    }
    return copy;
  }

  /** Returns a primitive value itself. For an object, returns an empty copy and queues the object for copying. */
  #startCopy(value: unknown): unknown {
    if (typeof value === 'string') this.#countBytes(this.#jsonBytes(value));
    else if (typeof value === 'number') this.#countBytes(String(this.#assertInteger(value)).length);
    else if (value === null || typeof value === 'boolean') this.#countBytes(String(value).length);
    else if (typeof value === 'object') return this.#pushFrame(value);
    else if (value !== undefined) this.#fail(`expected JSON in an event, got a ${typeof value}`);
    return value;
  }

  #pushFrame(source: object): object {
    if (this.#ancestors.has(source)) this.#fail('expected JSON in an event, got a circular reference');
    if (this.#frames.length === this.#maxDepth) {
      this.#fail(`expected at most ${this.#maxDepth} levels of objects and arrays in an event, got more`);
    }
    if (!isJsonObject(source)) this.#fail('expected JSON in an event, got an object that JSON has no form for');
    const isArray = this.#runCallerCode(() => Array.isArray(source));
    const copy = isArray ? [] : {};
    const keys = isArray ? undefined : this.#runCallerCode(() => Object.keys(source));
    const length = keys?.length ?? (Number(this.#read(source, 'length')) || 0); // a proxy may return any value
    this.#countBytes(length === 0 ? 2 : 1);
    this.#ancestors.add(source);
    this.#frames.push({ source, copy, keys, length, next: 0 });
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
      return this.#fail('expected JSON in an event, got something that throws when it is read', error);
    }
  }

  #assertInteger(number: number): number {
    if (Number.isSafeInteger(number)) return number;
    return this.#fail(
      'expected whole numbers below 2^53 in an event, got another',
      undefined,
      ' (send it as a string)',
    );
  }

  /** The size of a string in JSON, in bytes. */
  #jsonBytes(text: string): number {
    if (text.length > this.#maxBytes) this.#tooLarge();
    if (!text.isWellFormed()) this.#fail('expected Unicode text in an event, got an unpaired surrogate');
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
    const path = [this.#name, ...this.#frames.map(currentKey)].join('.').toWellFormed();
    const shown = path.length > MAX_PATH_LENGTH ? `${path.slice(0, MAX_PATH_LENGTH).toWellFormed()}…` : path;
    throw invalidOptions(`${problem} at \`${shown}\`${remedy}`, { cause });
  }
}

/** The key whose value is being copied. */
function currentKey({ keys, next }: Frame): string {
  return keys ? (keys[next - 1] as string) : String(next - 1);
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
