/**
 * How deep an event may be nested for what recurses over it or hands it to something that does: the SDK, its crypto
 * library (which reads 128 levels), `JSON.stringify`. Homeservers refuse to take deeper ones from clients: Synapse 300
 * levels. Callbacks and pages get deeper ones as they came.
 */
export const MAX_EVENT_DEPTH = 100;

/** Whether `value`, which JSON can hold, has more than `levels` objects and arrays within each other; looks no deeper. */
export function isDeeperThan(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (levels === 0) return true;
  for (const inner of Array.isArray(value) ? (value as unknown[]) : Object.values(value)) {
    if (typeof inner === 'object' && isDeeperThan(inner, levels - 1)) return true;
  }
  return false;
}

/** The same as `JSON.stringify` of what JSON can hold, however deep it is nested. */
export function jsonText(value: object): string {
  if (!isDeeperThan(value, MAX_EVENT_DEPTH)) return JSON.stringify(value);
  const parts: string[] = [];
  const open: Writer[] = [];
  const write = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) {
      parts.push(JSON.stringify(value) ?? 'null');
      return;
    }
    const isArray = Array.isArray(value);
    parts.push(isArray ? '[' : '{');
    // What JSON has no form for is left out of objects; events hold nothing of that but `undefined`.
    const entries = Object.entries(value).filter(([, inner]) => isArray || inner !== undefined);
    open.push({ entries, isArray, next: 0 });
  };
  write(value);
  for (let writer = open.at(-1); writer; writer = open.at(-1)) {
    const entry = writer.entries[writer.next];
    if (!entry) {
      parts.push(writer.isArray ? ']' : '}');
      open.pop();
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
