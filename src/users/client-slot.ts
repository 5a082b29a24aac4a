import type { MatrixClient } from '../sdk/matrix-client.js';
import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import type { UserEngine } from '../core/ports/user-engine.js';
import type { ClientInfo, ClientState } from './client-state.js';

/** The part of a user's client that the registry uses. */
export interface ManagedClient {
  readonly engine: Omit<UserEngine<MatrixClient>, 'start' | 'stop'>;
  readonly deviceId: string;
  /** How many rooms have a gap that is being retried, or that was given up because the homeserver failed. */
  readonly stalledRooms: number;
  /** How many calls of the user's callbacks are still running after `callbackTimeoutMs`. */
  readonly overdueCallbacks: number;
  /** Starts the engine. Rejects soon after `signal` fires. After a rejection the client is stopped. */
  start(signal: AbortSignal): Promise<void>;
  /** Resolves when nothing of the client runs any more. A rejection is final: calling it again does not help. */
  stop(): Promise<void>;
}

export interface StartingPhase<Client> {
  readonly state: 'starting';
  readonly started: Promise<Client>;
  readonly abort: AbortController;
  /** Whether it waits because of `startConcurrency` or `maxClients`. No client has been created yet. */
  queued: boolean;
  /** How many callers wait for the start. */
  callers: number;
}

export type Phase<Client> =
  | StartingPhase<Client>
  | { readonly state: 'live' | 'reconnecting'; readonly client: Client }
  | {
      readonly state: 'stopping';
      /** Resolves when the stop has ended: with an error if it failed, else undefined. Never rejects. */
      readonly stopped: Promise<MatrixClientManagerError | undefined>;
      readonly client: Client;
    }
  | { readonly state: 'failed'; readonly error: MatrixClientManagerError };

export interface Slot<Client> {
  readonly userId: string;
  phase: Phase<Client>;
  since: number;
  lastActivityAt: number;
  /** When the client was prewarmed; undefined for other starts, and once the user is active. */
  prewarmedAt: number | undefined;
  leases: number;
}

export type StartingOrRunningSlot<Client> = Slot<Client> & {
  readonly phase: Exclude<Phase<Client>, { state: 'stopping' | 'failed' }>;
};

/** The slot as `clientInfo` returns it. */
export function toClientInfo(
  { userId, phase, since, lastActivityAt, leases }: Slot<ManagedClient>,
  { resting, connections, now }: Pick<ClientInfo, 'resting' | 'connections'> & { readonly now: number },
): ClientInfo {
  const client = 'client' in phase ? phase.client : undefined;
  const lastSyncAt = client?.engine.lastSyncAt;
  return {
    userId,
    state: phase.state,
    resting,
    since,
    lastActivityAt,
    leases,
    connections,
    ...(client && {
      deviceId: client.deviceId,
      stalledRooms: client.stalledRooms,
      incomplete: client.engine.isIncomplete,
      overdueCallbacks: client.overdueCallbacks,
    }),
    ...(lastSyncAt !== undefined && { lastSyncAt, syncLagMs: now - lastSyncAt }),
    ...(phase.state === 'failed' && { error: phase.error }),
  };
}

export function isStartingOrRunning(state: ClientState): boolean {
  return state === 'starting' || state === 'live' || state === 'reconnecting';
}

export function startTimeoutError(userId: string, startTimeoutMs: number): MatrixClientManagerError {
  const message = `starting ${userId} took longer than ${startTimeoutMs} ms; raise startTimeoutMs to allow more time`;
  return new MatrixClientManagerError('TIMEOUT', message, { userId });
}

export function stopFailedError(cause: unknown, userId: string): MatrixClientManagerError {
  const message = `stopping the client of ${userId} failed; the client was discarded, and a new start is possible`;
  return new MatrixClientManagerError('CLIENT_FAILED', message, { userId, cause });
}

/** The error with which a start rejects: `error` itself, or `CLIENT_FAILED` for one that is not of this library. */
export function startFailedError(error: unknown, userId: string): MatrixClientManagerError {
  if (isManagerError(error)) return error;
  return new MatrixClientManagerError('CLIENT_FAILED', `starting ${userId} failed`, { userId, cause: error });
}
