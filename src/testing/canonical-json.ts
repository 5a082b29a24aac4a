/**
 * Canonical JSON, which signatures cover: keys sorted, no spaces.
 * @see https://spec.matrix.org/v1.16/appendices/#canonical-json
 */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}

/** The part of an object that its signatures cover, as canonical JSON. */
export function signedPart(object: Readonly<Record<string, unknown>>): string {
  const { signatures: _signatures, unsigned: _unsigned, ...signed } = object;
  return canonicalJson(signed);
}
