/** Where a stream of server-sent events is written. */
export interface SseSink {
  /** What was written and not yet sent, in bytes. */
  readonly pendingBytes: number;
  /** Writes; the text is buffered if the browser is slow. */
  write(text: string): void;
  /** Ends the response once everything is sent. */
  end(): void;
  /** Ends the connection at once. */
  destroy(): void;
  /** Calls the listener when something pending was sent. */
  onDrain(listener: () => void): void;
  /** Calls the listener when the browser has disconnected, or the response has ended. */
  onClose(listener: () => void): void;
}
