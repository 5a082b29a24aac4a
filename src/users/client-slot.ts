import type { MatrixClient } from '../sdk/matrix-client.js';
import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import type { ClientInfo, ClientState } from './client-state.js';

/** The part of a user's client that the registry uses. */
export interface ManagedClient {
  /** The matrix-js-sdk client. Its rooms are filled from the library's timelines by the first call. */
  materializeSdkClient(): MatrixClient;
  readonly deviceId: string;
  readonly lastSyncAt: number | undefined;
  /** How many rooms have a gap that is being retried, or that was given up because the homeserver failed. */
  readonly stalledRooms: number;
  /** Whether rooms or missed events could not be fetched yet because requests to the homeserver fail. */
  readonly isIncomplete: boolean;
  /** How many calls of the user's callbacks are still running after `callbackTimeoutMs`. */
  readonly overdueCallbacks: number;
  /** Resolves when the client is live. Rejects soon after `signal` fires. After a rejection the client is stopped. */
  start(signal: AbortSignal): Promise<void>;
  /** Resolves when the client has stopped. A rejection is final: calling it again does not help. */
  stop(): Promise<void>;
  /** Polls only every `pollIntervalMs` from now on (never, if Infinity). The sync position is kept. */
  rest(pollIntervalMs: number): void;
  /** Ends {@link rest}: polls at once, and continuously from then on. */
  wake(): void;
}

export interface StartingPhase {
  readonly state: 'starting';
  readonly started: Promise<ManagedClient>;
  readonly abort: AbortController;
  /** Whether it waits because of `startConcurrency` or `maxClients`. No client has been created yet. */
  queued: boolean;
  /** How many callers wait for the start. */
  callers: number;
}

export type Phase =
  | StartingPhase
  | { readonly state: 'live' | 'reconnecting'; readonly client: ManagedClient }
  | {
      readonly state: 'stopping';
      /** Resolves when the stop has ended: with an error if it failed, else undefined. Never rejects. */
      readonly stopped: Promise<MatrixClientManagerError | undefined>;
      readonly client: ManagedClient;
    }
  | { readonly state: 'failed'; readonly error: MatrixClientManagerError };

export interface Slot {
  readonly userId: string;
  phase: Phase;
  since: number;
  lastActivityAt: number;
  /** When the client was prewarmed; undefined for other starts, and once the user is active. */
  expectedSince: number | undefined;
  leases: number;
}

export type StartingOrRunningSlot = Slot & { readonly phase: Exclude<Phase, { state: 'stopping' | 'failed' }> };

/** The slot as `clientInfo` returns it. */
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

export function isStartingOrRunning(state: ClientState): boolean {
  return state === 'starting' || state === 'live' || state === 'reconnecting';
}

export function closedError(): MatrixClientManagerError {
  return new MatrixClientManagerError('MANAGER_CLOSED', 'the manager was shut down');
}

export function startTimeoutError(userId: string, startTimeoutMs: number): MatrixClientManagerError {
  const message = `starting ${userId} took longer than ${startTimeoutMs} ms; raise startTimeoutMs to allow more time`;
  return new MatrixClientManagerError('TIMEOUT', message, { userId });
}

export function stopFailedError(cause: unknown, userId: string): MatrixClientManagerError {
  const message = `stopping the client of ${userId} failed; the client was discarded, and a new start is possible`;
  return new MatrixClientManagerError('CLIENT_FAILED', message, { userId, cause });
}

export function asManagerError(error: unknown, userId: string): MatrixClientManagerError {
  if (isManagerError(error)) return error;
  return new MatrixClientManagerError('CLIENT_FAILED', `starting ${userId} failed`, { userId, cause: error });
}
