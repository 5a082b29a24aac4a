/**
 * The deepest nesting of an event that is passed to recursive code: the SDK, its crypto library (which reads 128 levels),
 * `JSON.stringify`. Homeservers reject deeply nested events from clients: Synapse 300 levels. Callbacks and pages still
 * receive deeper events unchanged.
 */
export const MAX_EVENT_DEPTH = 100;

/** Whether a JSON value has more than `levels` nested objects and arrays. Does not recurse beyond `levels`. */
export function isDeeperThan(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (levels === 0) return true;
  for (const inner of Array.isArray(value) ? (value as unknown[]) : Object.values(value)) {
    if (typeof inner === 'object' && isDeeperThan(inner, levels - 1)) return true;
  }
  return false;
}

/** `JSON.stringify` for JSON values of any depth: does not recurse over deeply nested ones. */
export function jsonText(value: object): string {
  if (!isDeeperThan(value, MAX_EVENT_DEPTH)) return JSON.stringify(value);
  const parts: string[] = [];
  const writers: Writer[] = [];
  const write = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) {
      parts.push(JSON.stringify(value) ?? 'null');
      return;
    }
    const isArray = Array.isArray(value);
    parts.push(isArray ? '[' : '{');
    // JSON omits unsupported values from objects. In events only `undefined` is possible.
    const entries = Object.entries(value).filter(([, inner]) => isArray || inner !== undefined);
    writers.push({ entries, isArray, next: 0 });
  };
  write(value);
  for (let writer = writers.at(-1); writer; writer = writers.at(-1)) {
    const entry = writer.entries[writer.next];
    if (!entry) {
      parts.push(writer.isArray ? ']' : '}');
      writers.pop();
      continue;
    }
    const [key, inner] = entry;
    if (writer.next++ > 0) parts.push(',');
    if (!writer.isArray) parts.push(JSON.stringify(key), ':');
    write(inner);
  }
  return parts.join('');
}

/** An object or array that is being written. */
interface Writer {
  readonly entries: readonly (readonly [string, unknown])[];
  readonly isArray: boolean;
  next: number;
}
