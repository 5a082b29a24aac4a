import type { HomeserverState } from '../resilience/circuit-breaker.js';
import type { ManagerStats } from './manager-stats.js';

export interface Health {
  readonly status: 'ok' | 'degraded' | 'down';
  /** Why the status is not `ok`. */
  readonly reasons: readonly string[];
}

/** The manager's health, from the state of the homeserver and of the clients. */
export function health(
  {
    clients,
    stalledRooms,
    incompleteClients,
    stalledSends,
    givenUpSends,
    overdueCallbacks,
  }: Pick<
    ManagerStats,
    'clients' | 'stalledRooms' | 'incompleteClients' | 'stalledSends' | 'givenUpSends' | 'overdueCallbacks'
  >,
  homeserver: HomeserverState,
  now: number,
): Health {
  if (homeserver.state === 'down') {
    const inMs = Math.max(0, homeserver.retryAt - now);
    return { status: 'down', reasons: [`the homeserver does not answer; the next probe is in ${inMs} ms`] };
  }
  const reasons = [
    ...(clients.reconnecting > 0 ? [`${clients.reconnecting} clients are reconnecting`] : []),
    ...(stalledRooms > 0 ? [`${stalledRooms} rooms have missing events that the homeserver fails to return`] : []),
    ...(incompleteClients > 0
      ? [`${incompleteClients} clients lack rooms or missed events that the homeserver fails to return`]
      : []),
    ...(clients.failed > 0 ? [`${clients.failed} clients have failed`] : []),
    ...(stalledSends > 0 ? [`${stalledSends} durable messages have been failing for a minute or longer`] : []),
    ...(givenUpSends > 0 ? [`${givenUpSends} durable messages were given up; see listSends({ state: 'failed' })`] : []),
    ...(overdueCallbacks > 0 ? [`${overdueCallbacks} callback calls are still running after callbackTimeoutMs`] : []),
  ];
  return { status: reasons.length > 0 ? 'degraded' : 'ok', reasons };
}
