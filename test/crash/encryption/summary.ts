import type { EncryptedResult } from './encrypted-run.js';
import { countPhases } from './phases.js';
import { listViolations } from './violation.js';

/** What a run has shown, a few lines of text. */
export function summaryOf({ violations, logPath, killedIn, search, ...counts }: EncryptedResult): string[] {
  const { lookedFor, ...searched } = search;
  return [
    JSON.stringify(counts),
    `killed in: ${JSON.stringify(countPhases(killedIn))}`,
    `searched: ${JSON.stringify(searched)} for ${JSON.stringify(lookedFor)}`,
    ...listViolations(violations),
    ...(logPath === undefined ? [] : [`log of the workers: ${logPath}`]),
  ];
}
