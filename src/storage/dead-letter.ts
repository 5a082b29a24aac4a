/** An event that a callback failed to handle in all of its attempts. */
export interface StoredDeadLetter {
  /** Unique per user. Derived from the event, so that adding a dead letter again after a crash replaces it. */
  readonly id: string;
  /** The event as JSON text, opaque to the storage. */
  readonly event: string;
  readonly error: StoredError;
  /** Milliseconds since the Unix epoch. */
  readonly failedAt: number;
  readonly attempts: number;
}

/** The stored form of an error, without fields that could contain a secret. */
export interface StoredError {
  readonly name: string;
  readonly message: string;
  readonly code?: string;
}
