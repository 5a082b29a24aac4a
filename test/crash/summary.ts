import type { CrashResult } from './crash-run.js';

/** What a run has shown, a few lines of text. */
export function summaryOf({ tally, once, violations, problems, sent, kills }: CrashResult): string[] {
  const {
    delivered,
    gapFilled,
    repeatedUnfinished,
    repeatedUnrecorded,
    gaps,
    inGaps,
    unfinishedInGaps,
    deadLetters,
    widest,
  } = tally;
  const windows = tally.windows.toSorted((a, b) => a - b);
  const at = (share: number): string => (windows[Math.floor(windows.length * share)] ?? 0).toFixed(1);
  const missing = violations.filter((violation) => violation.startsWith('missing')).length;
  return [
    `${kills} kills, ${sent} messages sent, ${delivered} deliveries (${gapFilled} by filling gaps), ${missing} missing`,
    `repeated: ${repeatedUnfinished} whose handling was unfinished, ${repeatedUnrecorded} finished but not yet recorded`,
    `once for all users: ${once.handled} handled, ${once.repeated} of them repeated, finished but not yet stored`,
    `from handled to recorded: ${at(0.5)} ms at p50, ${at(0.99)} at p99, ${at(0.9999)} at most; ${widest} events of a room at most`,
    `${gaps} gap events for ${inGaps} events beyond the limit (${unfinishedInGaps} of them begun before), ${deadLetters} dead letters`,
    ...[...new Set(problems)].slice(0, 10).map((problem) => `told: ${problem}`),
    ...violations.slice(0, 20).map((violation) => `WRONG: ${violation}`),
    ...(violations.length > 20 ? [`... and ${violations.length - 20} more`] : []),
  ];
}
