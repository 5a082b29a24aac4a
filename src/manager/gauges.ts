import type { CallbackRegistry } from '../callbacks/callback-registry.js';
import type { SynapseAdminHttp } from '../provisioning/synapse-admin-http.js';
import type { HomeserverGate } from '../resilience/homeserver-gate.js';
import type { Outbox } from '../sending/outbox.js';
import type { SendQueue } from '../sending/send-queue.js';
import type { Gauges } from '../telemetry/gauges.js';
import type { Encryption } from '../users/encryption.js';
import type { UserSessions } from '../users/user-sessions.js';
import type { TelemetryStats } from '../telemetry/telemetry-stats.js';
import type { ClientCounts, StopReason } from '../users/client-state.js';

/** Current gauges and cumulative counts of the manager: the same numbers that OpenTelemetry exports. */
export interface ManagerStats extends Gauges, TelemetryStats {
  readonly clients: ClientCounts;
  readonly stops: Readonly<Record<StopReason, number>>;
}

export interface MeasuredParts {
  readonly adminHttp: SynapseAdminHttp | undefined;
  readonly callbacks: CallbackRegistry;
  readonly encryption: Encryption | undefined;
  readonly gate: HomeserverGate;
  readonly outbox: Outbox;
  readonly sendQueue: SendQueue;
  readonly users: UserSessions;
}

/** The current values of the manager's gauges. */
export function readGauges(parts: MeasuredParts): Gauges & Pick<ManagerStats, 'clients'> {
  const { adminHttp, callbacks, encryption, gate, outbox, sendQueue, users } = parts;
  const admin = adminHttp?.counts ?? { running: 0, waiting: 0 };
  const clients = { starting: 0, live: 0, reconnecting: 0, stopping: 0, failed: 0 };
  let [leases, resting, syncLagMs, stalledRooms, incompleteClients] = [0, 0, 0, 0, 0];
  for (const client of users.registry.list()) {
    if (client.state !== 'stopped') clients[client.state]++;
    leases += client.leases;
    stalledRooms += client.stalledRooms ?? 0;
    if (client.incomplete) incompleteClients++;
    if (client.state !== 'live' && client.state !== 'reconnecting') continue;
    if (client.resting) resting++;
    else syncLagMs = Math.max(syncLagMs, client.syncLagMs ?? 0);
  }
  return {
    clients,
    resting,
    leases,
    openConnections: users.connections.size,
    syncLagMs,
    stalledRooms,
    incompleteClients,
    stalledSends: outbox.stalled,
    givenUpSends: outbox.givenUp,
    overdueCallbacks: callbacks.overdue,
    homeserver: gate.state.state,
    openDevices: encryption?.openDevices ?? 0,
    queues: {
      send: sendQueue.queued,
      outbox: outbox.queued,
      rateLimiter: gate.waiting.requests,
      starts: users.registry.queuedStarts,
      admin: admin.waiting,
      homeserver: gate.waiting.clients,
    },
    admin,
  };
}
