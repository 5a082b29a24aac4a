/** The maximum number of records per user that a storage keeps. Beyond a limit the oldest records are deleted. */
export const storageLimits = {
  /** Handled events that are newer than the stored sync token. */
  journalEntries: 10_000,
  deadLetters: 1_000,
  /** Sent and failed sends, each with their own limit, by the time they settled. Queued sends are never deleted. */
  settledSends: 200,
} as const;

/** How many dead letters are listed by default. */
export const defaultDeadLetterLimit = 100;
