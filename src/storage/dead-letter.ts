/** An event that the callbacks failed on as often as they were allowed to. */
export interface StoredDeadLetter {
  /** Unique per user. Derived from the event, a letter added again after a crash replaces itself. */
  readonly id: string;
  /** The event as JSON text, opaque to the storage. */
  readonly event: string;
  readonly error: StoredError;
  /** Milliseconds since the Unix epoch. */
  readonly failedAt: number;
  readonly attempts: number;
}

/** What is kept of an error: enough to read it, nothing that could hold a secret. */
export interface StoredError {
  readonly name: string;
  readonly message: string;
  readonly code?: string;
}
