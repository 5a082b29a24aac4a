import type { CallbackRegistry } from '../callbacks/callback-registry.js';
import type { Diagnostics } from '../core/diagnostics.js';
import type { ManagerLifecycle } from '../core/lifecycle.js';
import type { OpenTransport } from '../core/ports/transport.js';
import type { ReceiptSender } from '../ephemeral/receipt-sender.js';
import type { TypingNotifier } from '../ephemeral/typing-notifier.js';
import type { FileOperations } from '../files/file-operations.js';
import type { PageReader } from '../messages/page-reader.js';
import type { Accounts } from '../provisioning/accounts.js';
import type { AdminApi } from '../provisioning/admin-api.js';
import type { SynapseAdminHttp } from '../provisioning/synapse-admin-http.js';
import type { HomeserverGate } from '../resilience/homeserver-gate.js';
import type { HomeserverCheck } from '../resilience/homeserver-check.js';
import type { Outbox } from '../sending/outbox.js';
import type { SendQueue } from '../sending/send-queue.js';
import type { Sending } from '../sending/sending.js';
import type { Gauges } from '../telemetry/gauges.js';
import type { Telemetry } from '../telemetry/telemetry.js';
import type { Encryption } from '../users/encryption.js';
import type { CallerSession, UserCalls } from '../users/user-calls.js';
import type { UserSessions } from '../users/user-sessions.js';
import type { DeadLetters } from './dead-letters.js';
import type { EventHub } from './event-hub.js';
import type { ManagerStats } from './manager-stats.js';
import type { Settings } from './options.js';

/** The parts of one manager. `compose()` makes and connects them. */
export interface Parts {
  readonly settings: Settings;
  readonly lifecycle: ManagerLifecycle;
  readonly events: EventHub;
  readonly diagnostics: Diagnostics;
  readonly telemetry: Telemetry;
  /** Reads the current values of all gauges. */
  readonly gauges: () => Gauges & Pick<ManagerStats, 'clients'>;
  /** Ends the export of the gauges. */
  readonly unregisterGauges: () => void;
  readonly transport: OpenTransport;
  readonly gate: HomeserverGate;
  readonly homeserverCheck: HomeserverCheck;
  /** Undefined without the option `admin`, as is `adminApi`. */
  readonly adminHttp: SynapseAdminHttp | undefined;
  readonly adminApi: AdminApi | undefined;
  readonly accounts: Accounts;
  readonly forgetUser: (userId: string, logOut: boolean) => Promise<void>;
  readonly callbacks: CallbackRegistry;
  readonly deadLetters: DeadLetters;
  /** Undefined without the option `encryption`. */
  readonly encryption: Encryption | undefined;
  readonly users: UserSessions;
  readonly calls: UserCalls;
  readonly sendQueue: SendQueue;
  readonly sending: Sending;
  readonly outbox: Outbox;
  /** Resolves when the durable messages of an earlier process are sent, refused or given up. */
  readonly outboxResumed: Promise<void>;
  readonly pages: PageReader;
  readonly files: FileOperations<CallerSession>;
  readonly typing: TypingNotifier;
  readonly receipts: ReceiptSender;
}
