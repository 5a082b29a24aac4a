/** How much any storage keeps per user of what would grow without end; beyond it the oldest go. */
export const storageLimits = {
  /** Handled events that no position covers yet. */
  journalEntries: 10_000,
  deadLetters: 1_000,
  /** Sent and failed sends, each counted for itself. Queued ones are never dropped. */
  settledSends: 200,
} as const;

/** How many dead letters are listed where the caller names no limit. */
export const defaultDeadLetterLimit = 100;
