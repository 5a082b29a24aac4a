import type { MatrixClientManagerError } from '../core/errors.js';

/**
 * A start leads from `starting` to `live`, or to `failed`. A running client alternates between `live` and
 * `reconnecting`. A stop leads to `stopping`, then to `stopped`, or to `failed` if an error ended the client. `stopped`
 * occurs in events only: `clientInfo` returns undefined for a stopped client.
 */
export type ClientState = 'starting' | 'live' | 'reconnecting' | 'stopping' | 'stopped' | 'failed';

/**
 * Why a client stopped. `requested`: by `stopClient`. `idle`: no activity for too long. `evicted`: because of
 * `maxClients` or `maxHeapBytes`. `shutdown`: the manager shuts down. `loggedOut`: its access token is invalid and
 * could not be renewed, or the account is deactivated. `failed`: an error.
 */
export type StopReason = 'requested' | 'idle' | 'evicted' | 'shutdown' | 'loggedOut' | 'failed';

/** A client as `clientInfo` and `listClients` return it. All times are in milliseconds since the Unix epoch. */
export interface ClientInfo {
  readonly userId: string;
  readonly state: ClientState;
  /** Whether the client polls only at intervals until the user is active again. */
  readonly resting: boolean;
  /** When the client entered this state. */
  readonly since: number;
  /**
   * When the user was last active: at a start, the begin or end of a call, `touch()`, or the close of a connection. 0
   * for a client that was started ahead of the user's usual hour, until the user is active.
   */
  readonly lastActivityAt: number;
  /** How many running calls use the client. Until they end it is not stopped as idle and not evicted. */
  readonly leases: number;
  /** How many connections the user has open. Until they close, the client does not rest, idle out or get evicted. */
  readonly connections: number;
  /** The client's device, once known. */
  readonly deviceId?: string;
  /** When the homeserver last answered a sync. */
  readonly lastSyncAt?: number;
  /** Milliseconds since `lastSyncAt`. Values up to `pollTimeoutMs` are normal. */
  readonly syncLagMs?: number;
  /**
   * How many rooms have missing events because requests for them fail. They are retried for `gapFillTimeoutMs`. A room
   * whose events were given up counts until a later gap of that room is filled.
   */
  readonly stalledRooms?: number;
  /**
   * Whether joined rooms, or events from a time without callbacks, are missing because requests for them fail. The
   * requests are retried; after `gapFillTimeoutMs` the missed events are requested room by room.
   */
  readonly incomplete?: boolean;
  /** How many calls of the user's callbacks are still running after `callbackTimeoutMs`. */
  readonly overdueCallbacks?: number;
  /** The error that ended the client, if `state` is `failed`. */
  readonly error?: MatrixClientManagerError;
}

/** How many clients are in each state. */
export type ClientCounts = Readonly<Record<Exclude<ClientState, 'stopped'>, number>>;
