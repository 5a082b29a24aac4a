import type { FakeUser } from '../../src/testing/index.js';

/** How the homeserver is out: it answers 503 to everything, or its port is closed. */
export type Outage = '503' | 'refused';

/** Whose clients: this library's, or matrix-js-sdk's as they are. */
export type Kind = 'library' | 'matrix-js-sdk';

export type HomeserverAsk =
  | { readonly do: 'users'; readonly count: number }
  | { readonly do: 'fail'; readonly outage: Outage }
  | { readonly do: 'recover' };

/** What the homeserver saw of an outage. */
export interface HomeserverReport {
  /** Requests received in each second of the outage; none where the port was closed. */
  readonly perSecond: readonly number[];
  /** For each user who synced again, how long after the end of the outage their sync was answered, in milliseconds. */
  readonly backAfterMs: readonly number[];
}

export type ClientsAsk =
  | {
      readonly do: 'start';
      readonly kind: Kind;
      readonly homeserverUrl: string;
      readonly users: readonly FakeUser[];
    }
  | { readonly do: 'mark' }
  | { readonly do: 'report' };

/** What the process of the clients did since the mark. */
export interface ClientsReport {
  readonly cpuMs: number;
  /** Requests that it tried to send in each second. */
  readonly perSecond: readonly number[];
}
