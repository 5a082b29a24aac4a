import type { Gauges } from '../telemetry/gauges.js';
import type { ManagerStats } from './manager-stats.js';
import type { Parts } from './parts.js';

export type MeasuredParts = Pick<
  Parts,
  'adminHttp' | 'callbacks' | 'encryption' | 'gate' | 'outbox' | 'sendQueue' | 'users'
>;

/** The current values of the manager's gauges. */
export function readGauges(parts: MeasuredParts): Gauges & Pick<ManagerStats, 'clients'> {
  const { adminHttp, callbacks, encryption, gate, outbox, sendQueue, users } = parts;
  const admin = adminHttp?.counts ?? { running: 0, waiting: 0 };
  const { requests, clients } = gate.waiting;
  return {
    ...users.gauges(),
    stalledSends: outbox.stalled,
    givenUpSends: outbox.givenUp,
    overdueCallbacks: callbacks.overdue,
    homeserver: gate.state.state,
    openDevices: encryption?.openDevices ?? 0,
    queues: {
      send: sendQueue.queued,
      outbox: outbox.queued,
      rateLimiter: requests,
      starts: users.registry.queuedStarts,
      admin: admin.waiting,
      homeserver: clients,
    },
    admin,
  };
}
