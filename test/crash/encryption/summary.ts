import type { EncryptedResult } from './encrypted-run.js';
import { countPhases } from './phases.js';

/** What a run has shown, a few lines of text. */
export function summaryOf({ violations, killedIn, search, ...counts }: EncryptedResult): string[] {
  const { lookedFor, ...searched } = search;
  return [
    JSON.stringify(counts),
    `killed in: ${JSON.stringify(countPhases(killedIn))}`,
    `searched: ${JSON.stringify(searched)} for ${JSON.stringify(lookedFor)}`,
    ...violations.slice(0, 20).map((violation) => `WRONG: ${violation}`),
    ...(violations.length > 20 ? [`... and ${violations.length - 20} more`] : []),
  ];
}
