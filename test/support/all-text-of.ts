import { inspect } from 'node:util';

/** Everything that could be read of a value where it is printed: inspected, as JSON, its stack and its causes. */
export function allTextOf(value: unknown): string {
  const parts = [inspect(value, { depth: 20, showHidden: true, maxArrayLength: null, maxStringLength: null })];
  for (let at = value; at instanceof Error; at = at.cause) parts.push(String(at), at.message, at.stack ?? '');
  try {
    parts.push(JSON.stringify(value) ?? '');
  } catch {
    // a circle: inspect has shown what is in it
  }
  return parts.join('\n');
}
