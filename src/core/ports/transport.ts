/** The shape of `globalThis.fetch`. */
export type Fetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>;

/**
 * How requests travel to the homeserver. A manager opens its transport once and closes what it got at its shutdown,
 * so one transport can be given to many managers.
 */
export interface Transport {
  open(): OpenTransport;
}

/** What a request is, so that one kind does not hold up another: long polls, admin calls, everything else. */
export type ConnectionPool = 'poll' | 'admin' | 'call';

/** A request whose answer is read to its end. */
export interface TransportRequest {
  readonly method: string;
  /** Such as `https://matrix.example.org`. */
  readonly origin: string;
  /** From the origin on, percent-encoded, with the query. */
  readonly path: string;
  /** By lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  readonly lane: ConnectionPool;
  /** How large the answer may be, in bytes; a larger one is `INVALID_RESPONSE`. */
  readonly maxBytes: number;
  /** Ends the request at once. Its reason is a `TimeoutError` where the answer did not come in time. */
  readonly signal: AbortSignal;
}

/** The headers of an answer, such as a `Headers`. */
export interface HttpHeaders extends Iterable<[string, string]> {
  /** Several of one name are joined by commas. */
  get(name: string): string | null;
}

/** An HTTP answer, read to its end. */
export interface HttpResponse {
  readonly status: number;
  readonly headers: HttpHeaders;
  readonly text: string;
}

/** The open connections of one manager. */
export interface OpenTransport {
  /**
   * Sends once and follows no redirect. Rejects with the signal's reason, with `INVALID_RESPONSE`, or with whatever
   * says in a `code` why there is no connection.
   */
  send(request: TransportRequest): Promise<HttpResponse>;
  /** For what is not JSON: large bodies, which flow. */
  readonly fetch: Fetch;
  /** Ends what is under way; resolves when no socket is left. */
  close(): Promise<void>;
}
