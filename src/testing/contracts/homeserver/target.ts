/** A running homeserver with Synapse's admin API, and an account with admin rights. */
export interface HomeserverTarget {
  /** Base URL without a path, such as `http://127.0.0.1:8008`. */
  readonly baseUrl: string;
  readonly serverName: string;
  readonly admin: { readonly userId: string; readonly accessToken: string; readonly password: string };
  /** Whether syncs return the state after the timeline on request (MSC4222). @default false */
  readonly stateAfter?: boolean;
  /** @default the global fetch */
  readonly fetch?: typeof globalThis.fetch;
}
