/** A running homeserver with Synapse's admin API, and an admin of it. */
export interface HomeserverTarget {
  /** Such as `http://127.0.0.1:8008`, without a path. */
  readonly baseUrl: string;
  readonly serverName: string;
  readonly admin: { readonly userId: string; readonly accessToken: string; readonly password: string };
  /** Whether syncs give the state after the timeline on request (MSC4222). @default false */
  readonly stateAfter?: boolean;
  /** @default the global fetch */
  readonly fetch?: typeof globalThis.fetch;
}
