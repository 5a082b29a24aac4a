/** The shape of `globalThis.fetch`. */
export type Fetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>;

/**
 * Sends requests to the homeserver. Each manager calls `open()` once and closes the result at its shutdown, so one
 * transport can serve several managers.
 */
export interface Transport {
  open(): OpenTransport;
}

/** The connection pool of a request: `poll` for long polls, `admin` for admin calls, `call` for all others. */
export type ConnectionPool = 'poll' | 'admin' | 'call';

/** A request whose response body is read completely. */
export interface TransportRequest {
  readonly method: string;
  /** The origin, such as `https://matrix.example.org`. */
  readonly origin: string;
  /** Percent-encoded path and query, without the origin. */
  readonly path: string;
  /** Headers, with lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  /** The pool to use, so that one kind of request does not delay another. */
  readonly lane: ConnectionPool;
  /** Maximum size of the response body, in bytes. A larger one must be rejected with `INVALID_RESPONSE`. */
  readonly maxBytes: number;
  /** Aborts the request. The signal's reason is a `TimeoutError` if the response did not arrive in time. */
  readonly signal: AbortSignal;
}

/** The headers of a response, such as a `Headers` object. */
export interface HttpHeaders extends Iterable<[string, string]> {
  /** The value of a header, or null. Several headers with the same name are joined by commas. */
  get(name: string): string | null;
}

/** An HTTP response with its complete body. */
export interface HttpResponse {
  readonly status: number;
  readonly headers: HttpHeaders;
  readonly text: string;
}

/** The open connections of one manager. */
export interface OpenTransport {
  /**
   * Sends the request once, without following redirects. Rejects with the signal's reason, with `INVALID_RESPONSE`, or
   * with a connection error that has a `code`, such as `ECONNREFUSED`.
   */
  send(request: TransportRequest): Promise<HttpResponse>;
  /** Sends requests with streamed bodies, such as uploads and downloads. */
  readonly fetch: Fetch;
  /** Aborts running requests and closes the connections. Resolves when all sockets are closed. */
  close(): Promise<void>;
}
