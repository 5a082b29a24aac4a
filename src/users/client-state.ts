import type { MatrixClientManagerError } from '../core/errors.js';

/** `starting -> live <-> reconnecting -> stopping -> stopped`, and `failed` with its error. */
export type ClientState = 'starting' | 'live' | 'reconnecting' | 'stopping' | 'stopped' | 'failed';

/**
 * Why a client stopped: `requested` by stopClient, `idle` for too long, `evicted` to make room under `maxClients`,
 * `shutdown` of the manager, `loggedOut` because its token is dead and could not be renewed or its account is
 * deactivated, `failed` by a fault.
 */
export type StopReason = 'requested' | 'idle' | 'evicted' | 'shutdown' | 'loggedOut' | 'failed';

/** A client as `clientInfo` and `listClients` show it. All times are in milliseconds since the Unix epoch. */
export interface ClientInfo {
  readonly userId: string;
  readonly state: ClientState;
  /** Whether it polls only now and then, until the user does something. */
  readonly resting: boolean;
  /** When it came into this state. */
  readonly since: number;
  /** When the user last did something through the manager. */
  readonly lastActivityAt: number;
  /** How many calls hold it, so that it is neither idle nor evicted. */
  readonly leases: number;
  /** How many connections are open for the user, so that it is neither idle nor evicted, nor rests. */
  readonly connections: number;
  /** The device it is on, once known. */
  readonly deviceId?: string;
  /** When the homeserver last answered a sync. */
  readonly lastSyncAt?: number;
  /** How long ago that was, in milliseconds; up to the poll's timeout is normal. */
  readonly syncLagMs?: number;
  /**
   * How many rooms have missing events that the homeserver fails to tell: tried again, and after `gapFillTimeoutMs`
   * given up, until a later gap of the room is filled.
   */
  readonly stalledRooms?: number;
  /**
   * Whether it lacks rooms that the user is in, or what came while no callback was registered, because the homeserver
   * fails to tell; it is asked again, and for missed events after `gapFillTimeoutMs` room by room.
   */
  readonly incomplete?: boolean;
  /** How many calls of the user's callbacks have run for longer than `callbackTimeoutMs`, and still run. */
  readonly overdueCallbacks?: number;
  /** What ended it, when `state` is `failed`. */
  readonly error?: MatrixClientManagerError;
}

/** How many clients are in each state. */
export type ClientCounts = Readonly<Record<Exclude<ClientState, 'stopped'>, number>>;
