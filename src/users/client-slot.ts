import type { MatrixClient } from '../sdk/matrix-client.js';
import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import type { ClientInfo, ClientState } from './client-state.js';

/** A user's client as the registry sees it. */
export interface ManagedClient {
  /** The client itself, which from now on knows all that the library knows. */
  materializeSdkClient(): MatrixClient;
  readonly deviceId: string;
  readonly lastSyncAt: number | undefined;
  /** How many rooms wait for, or have lost, events that the homeserver does not tell. */
  readonly stalledRooms: number;
  /** Whether rooms, or events that were missed, are not here because the homeserver fails to tell them. */
  readonly isIncomplete: boolean;
  /** How many calls of the user's callbacks have run for longer than they may, and still run. */
  readonly overdueCallbacks: number;
  /** Resolves when the client is live. Rejects soon after `signal` fires. After a rejection it is stopped. */
  start(signal: AbortSignal): Promise<void>;
  /** Resolves when nothing of the client is left. After a rejection nothing more can be done about what is. */
  stop(): Promise<void>;
  /** Polls only every `pollIntervalMs` from now on, if at all; the position is kept. */
  rest(pollIntervalMs: number): void;
  /** Is live again, at once. */
  wake(): void;
}

export interface Starting {
  readonly state: 'starting';
  readonly flight: Promise<ManagedClient>;
  readonly abort: AbortController;
  /** Whether it waits for its turn, or for a place under `maxClients`: nothing of it exists yet. */
  waiting: boolean;
  /** How many calls wait for the start. */
  callers: number;
}

export type Phase =
  | Starting
  | { readonly state: 'live' | 'reconnecting'; readonly client: ManagedClient }
  | {
      readonly state: 'stopping';
      /** Resolves when it is over, with why it did not end well; never rejects. */
      readonly flight: Promise<MatrixClientManagerError | undefined>;
      readonly client: ManagedClient;
    }
  | { readonly state: 'failed'; readonly error: MatrixClientManagerError };

export interface Slot {
  readonly userId: string;
  phase: Phase;
  since: number;
  lastActivityAt: number;
  /** When it was started because the user was expected; undefined once they have come. */
  expectedSince: number | undefined;
  leases: number;
}

export type UpSlot = Slot & { readonly phase: Exclude<Phase, { state: 'stopping' | 'failed' }> };

/** The slot as an application sees it. */
export function toClientInfo(
  { userId, phase, since, lastActivityAt, leases }: Slot,
  { resting, connections, now }: Pick<ClientInfo, 'resting' | 'connections'> & { readonly now: number },
): ClientInfo {
  const client = 'client' in phase ? phase.client : undefined;
  const lastSyncAt = client?.lastSyncAt;
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
      incomplete: client.isIncomplete,
      overdueCallbacks: client.overdueCallbacks,
    }),
    ...(lastSyncAt !== undefined && { lastSyncAt, syncLagMs: now - lastSyncAt }),
    ...(phase.state === 'failed' && { error: phase.error }),
  };
}

/** Whether there is a client that is or will be live. */
export function isUp(state: ClientState): boolean {
  return state === 'starting' || state === 'live' || state === 'reconnecting';
}

export function closedError(): MatrixClientManagerError {
  return new MatrixClientManagerError('MANAGER_CLOSED', 'the manager was shut down');
}

export function startTimeoutError(userId: string, startTimeoutMs: number): MatrixClientManagerError {
  const message = `starting ${userId} took longer than ${startTimeoutMs} ms; startTimeoutMs allows more`;
  return new MatrixClientManagerError('TIMEOUT', message, { userId });
}

export function stopFailedError(cause: unknown, userId: string): MatrixClientManagerError {
  const message = `stopping the client of ${userId} failed; what is left of it is not used any more`;
  return new MatrixClientManagerError('CLIENT_FAILED', message, { userId, cause });
}

export function asManagerError(error: unknown, userId: string): MatrixClientManagerError {
  if (isManagerError(error)) return error;
  return new MatrixClientManagerError('CLIENT_FAILED', `starting ${userId} failed`, { userId, cause: error });
}
