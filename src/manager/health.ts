import { isError } from '../core/is-error.js';
import type { Parts } from './compose.js';

/** A health check sends no request if the homeserver has answered any request within this time, in milliseconds. */
const RECENT_ANSWER_MS = 35_000;

export interface Health {
  readonly status: 'ok' | 'degraded' | 'down';
  /** Why the status is not `ok`. */
  readonly reasons: readonly string[];
}

/** Checks the manager's health. Makes a request only if the homeserver has answered no other one recently. */
export async function checkHealth({ settings: { clock }, gate, gauges, homeserverCheck }: Parts): Promise<Health> {
  const { lastAnswerAt = -Infinity } = gate;
  if (gate.state.state === 'up' && clock.now() - lastAnswerAt > RECENT_ANSWER_MS) {
    try {
      await homeserverCheck.request();
    } catch (error) {
      return { status: 'down', reasons: [isError(error) ? error.message : String(error)] };
    }
  }
  const homeserver = gate.state;
  if (homeserver.state === 'down') {
    const inMs = Math.max(0, homeserver.retryAt - clock.now());
    return { status: 'down', reasons: [`the homeserver does not answer; the next probe is in ${inMs} ms`] };
  }
  const { clients, stalledRooms, incompleteClients, stalledSends, givenUpSends, overdueCallbacks } = gauges();
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
