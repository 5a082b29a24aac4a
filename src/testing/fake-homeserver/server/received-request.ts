/** A received request, before an endpoint parses it. */
export interface ReceivedRequest {
  readonly method: string;
  /** The path without the query. */
  readonly path: string;
  /** Template of the path, such as `/rooms/{roomId}/messages`; undefined if no endpoint serves it. */
  readonly endpoint: string | undefined;
  readonly query: URLSearchParams;
  readonly accessToken: string | undefined;
  /** The user of the access token; undefined without a valid token. */
  readonly userId: string | undefined;
  readonly body: string;
  /** The unchanged body. */
  readonly bytes: Uint8Array;
  readonly headers: Headers;
  /** Aborted when the client disconnects or the homeserver drops the connection. */
  readonly signal: AbortSignal;
}
