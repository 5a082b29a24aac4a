/** What a run must not show. Likely causes come before their effects, which may be many; see {@link listViolations}. */
export const VIOLATION_KINDS = [
  'identity',
  'reused or missing encryption',
  'readable file',
  'different text',
  'undecryptable',
  'missing',
] as const;

export interface Violation {
  readonly kind: (typeof VIOLATION_KINDS)[number];
  readonly text: string;
}

export const asViolations = (kind: Violation['kind'], texts: readonly string[]): Violation[] =>
  texts.map((text) => ({ kind, text }));

/** Lines that show the total and the first violations of every kind. */
export function listViolations(violations: readonly Violation[], shownPerKind = 5): string[] {
  return VIOLATION_KINDS.flatMap((kind) => {
    const texts = violations.filter((violation) => violation.kind === kind).map(({ text }) => text);
    if (texts.length === 0) return [];
    return [
      `WRONG: ${texts.length} x ${kind}`,
      ...texts.slice(0, shownPerKind).map((text) => `WRONG:   ${text}`),
      ...(texts.length > shownPerKind ? [`         and ${texts.length - shownPerKind} more`] : []),
    ];
  });
}
