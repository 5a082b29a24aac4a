/** A request as it came, before anybody looks at what it means. */
export interface ReceivedRequest {
  readonly method: string;
  /** Without query. */
  readonly path: string;
  /** Template of the path, such as `/rooms/{roomId}/messages`; undefined when no endpoint serves it. */
  readonly endpoint: string | undefined;
  readonly query: URLSearchParams;
  readonly accessToken: string | undefined;
  /** Whose token it carries; undefined without one, or with a dead one. */
  readonly userId: string | undefined;
  readonly body: string;
  /** The body as it came. */
  readonly bytes: Uint8Array;
  readonly headers: Headers;
  /** Fires when the client leaves or the homeserver drops the connection. */
  readonly signal: AbortSignal;
}
