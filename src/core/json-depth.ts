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
  let text = '';
  /** What is still to be written, the last one first: values, and the text between them. */
  const pending: { readonly text?: string; readonly value?: unknown }[] = [{ value }];
  for (let next = pending.pop(); next; next = pending.pop()) {
    const { text: between, value } = next;
    if (between !== undefined) text += between;
    else if (typeof value !== 'object' || value === null) text += JSON.stringify(value) ?? 'null';
    else {
      const isArray = Array.isArray(value);
      // JSON omits unsupported values from objects. In events only `undefined` is possible.
      const entries = Object.entries(value).filter(([, inner]) => isArray || inner !== undefined);
      pending.push({ text: isArray ? ']' : '}' });
      for (const [index, [key, inner]] of [...entries.entries()].toReversed()) {
        pending.push({ value: inner }, { text: (index > 0 ? ',' : '') + (isArray ? '' : `${JSON.stringify(key)}:`) });
      }
      pending.push({ text: isArray ? '[' : '{' });
    }
  }
  return text;
}
