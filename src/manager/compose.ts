import { CallbackRegistry } from '../callbacks/callback-registry.js';
import { OnceLog } from '../callbacks/once-log.js';
import type { Context } from '../core/context.js';
import { Diagnostics } from '../core/diagnostics.js';
import { jsonCopy } from '../core/json-copy.js';
import { ManagerLifecycle } from '../core/lifecycle.js';
import type { Logger } from '../core/logger.js';
import { openGate } from '../core/ports/request-gate.js';
import type { KeyStore } from '../core/ports/key-store.js';
import { EncryptedRooms } from '../encryption/encrypted-rooms.js';
import type { EncryptionSettings } from '../encryption/encryption-options.js';
import type { IdentityChange } from '../encryption/identity/identity-change.js';
import { ReceiptSender } from '../ephemeral/receipt-sender.js';
import { TypingNotifier } from '../ephemeral/typing-notifier.js';
import { AccountData } from '../account-data/account-data.js';
import { IgnoredUsers } from '../account-data/ignored-users.js';
import { Attachments } from '../files/attachments.js';
import type { AnswersOtherRequests } from '../http/failing-time.js';
import { HomeserverHttp } from '../http/homeserver-http.js';
import type { HomeserverContext } from '../http/homeserver-context.js';
import { readVersions, ServerVersions } from '../http/server-versions.js';
import { PageReader } from '../messages/page-reader.js';
import { MessageSearch } from '../messages/search-messages.js';
import { Profiles } from '../profiles/profiles.js';
import { Accounts } from '../provisioning/accounts.js';
import { AdminApi } from '../provisioning/admin-api.js';
import { ApplicationCredentials } from '../provisioning/application-credentials.js';
import { OwnAdmin } from '../provisioning/own-admin.js';
import { SynapseAdminHttp } from '../provisioning/synapse-admin-http.js';
import { SynapseAdminProvisioner } from '../provisioning/synapse-admin-provisioner.js';
import { HomeserverGate } from '../resilience/homeserver-gate.js';
import { HomeserverCheck } from '../resilience/homeserver-check.js';
import { Actor } from '../rooms/room-calls.js';
import type { RunAsActor } from '../rooms/room-calls.js';
import { RoomDeleter } from '../rooms/delete-room.js';
import { Rooms } from '../rooms/rooms.js';
import { Outbox } from '../sending/outbox.js';
import { RoomSender } from '../sending/room-sender.js';
import { SendQueue } from '../sending/send-queue.js';
import { Sending } from '../sending/sending.js';
import { Telemetry } from '../telemetry/telemetry.js';
import { Encryption } from '../users/encryption.js';
import type { EncryptionOptions } from '../users/encryption.js';
import { loadPollingEngines } from '../users/session-engine.js';
import { RoomList } from '../users/room-list.js';
import { UnreadReader } from '../users/unread-totals.js';
import { UserSessions } from '../users/user-sessions.js';
import { UserCalls } from '../users/user-calls.js';
import type { CallerSession } from '../users/user-calls.js';
import { connectionCalls } from './connection-calls.js';
import { containedSettings } from './contained-settings.js';
import { DeadLetters } from './dead-letters.js';
import { EventHub } from './event-hub.js';
import { forgetUser } from './forget-user.js';
import { readGauges } from './gauges.js';
import { readOptions } from './options.js';
import type { MatrixClientManagerOptions } from './options.js';

/** The parts of one manager. */
export type Parts = ReturnType<typeof compose>;

/**
 * Makes the parts of a manager and connects them; the only place that knows them all. Checks the options; throws
 * `INVALID_OPTIONS`. The outbox begins at once to send the durable messages of an earlier process.
 *
 * This file is a little long because every part is made and connected here.
 */
export function compose(options: MatrixClientManagerOptions) {
  const settings = containedSettings(readOptions(options));
  const { admin, clock, logger, storage, serverName, credentials, requestTimeoutMs } = settings;
  const lifecycle = new ManagerLifecycle();
  const { signal } = lifecycle;
  const events = new EventHub(logger);
  const diagnostics = new Diagnostics(clock);
  const telemetry = new Telemetry(diagnostics, { ...settings, serverAddress: new URL(settings.homeserverUrl).host });

  const { startTimeoutMs, maxResponseBytes } = settings;
  const limits = Object.freeze({ requestTimeoutMs, startTimeoutMs, maxResponseBytes });
  const context: Context = Object.freeze({ clock, logger, diagnostics, limits });
  const transport = settings.transport.open();
  const { homeserverUrl } = settings;
  const ungated = new HomeserverHttp(context, { homeserverUrl, connections: transport, gate: openGate });
  const gate = new HomeserverGate(context, {
    rateLimit: settings.rateLimit,
    adminRateLimit: settings.adminRateLimit,
    probe: () => readVersions(ungated, signal),
    onStateChanged: (state) => {
      diagnostics.publish('homeserver', { state: state.state });
      logger.warn({ ...state }, state.state === 'up' ? 'the homeserver is back' : 'the homeserver is down');
      events.emit('homeserverStateChanged', state);
    },
  });
  const http = new HomeserverHttp(context, { homeserverUrl, connections: transport, gate });
  const homeserverCheck = new HomeserverCheck(gate, () => readVersions(http, signal));
  const answersOtherRequests: AnswersOtherRequests = (since, error) =>
    homeserverCheck.answersOtherRequests(since, error);
  const versions = new ServerVersions(context, http, signal);
  const homeserver: HomeserverContext = Object.freeze({ ...context, http, versions, gate, answersOtherRequests });

  const adminHttp =
    admin && new SynapseAdminHttp(homeserver, new OwnAdmin(http, admin, signal), settings.adminConcurrency);
  const provisioner = settings.provisioner ?? (adminHttp && new SynapseAdminProvisioner(adminHttp));
  const accounts = new Accounts(homeserver, {
    storage,
    provisioner,
    application: credentials && new ApplicationCredentials(context, credentials, signal),
    admin: adminHttp?.account,
    serverName,
    deviceName: settings.deviceName,
    isDeactivated: async (userId) => (await adminHttp?.isDeactivated(userId)) ?? false,
    onChanged: (changed) => events.emit('credentialsChanged', { userId: changed.userId, credentials: changed }),
    signal,
  });

  const deadLetters = new DeadLetters(context, {
    storage,
    events,
    lifecycle,
    redeliver: (...redelivery) => callbacks.redeliver(...redelivery),
  });
  const onceLog = new OnceLog(context, storage);
  const callbacks: CallbackRegistry = new CallbackRegistry(context, {
    onceLog,
    attempts: settings.callbackAttempts,
    retryDelayMs: settings.callbackRetryDelayMs,
    timeoutMs: settings.callbackTimeoutMs,
    onError: (event, error, attempt) => {
      logger.warn({ userId: event.userId, roomId: event.roomId, err: error, attempt }, 'a callback failed');
      events.emit('callbackError', { userId: event.userId, event: jsonCopy(event), error, attempt });
    },
    onAdded: (userId) => users.callbacksChanged(userId),
    onLastRemoved: (userId) => users.callbacksChanged(userId),
    onManagerCallbacksChanged: () => users.managerCallbacksChanged(),
    onDeadLetter: (...failed) => deadLetters.store(...failed),
  });

  const authenticate = accounts.authenticate.bind(accounts);
  const encryptedRooms = new EncryptedRooms(context, storage);
  const onKeysWithheld: EncryptionOptions['onKeysWithheld'] = (withheld) => events.emit('keysWithheld', withheld);
  const onIdentityChanged = (change: IdentityChange): void => events.emit('identityChanged', change);
  const onVerificationRequested: EncryptionOptions['onVerificationRequested'] = (request) =>
    events.emit('verificationRequest', request);
  const encryptionParts = {
    authenticate,
    encryptedRooms,
    onIdentityChanged,
    onKeysWithheld,
    onVerificationRequested,
  };
  const encryption = settings.encryption && newEncryption(context, settings.encryption, encryptionParts);
  if (encryption && options.storage === undefined && !credentials) warnOfNewDevices(logger);
  const users: UserSessions = new UserSessions(homeserver, {
    settings: { ...settings, encryptedRooms },
    loadEngines: () => loadPollingEngines(homeserver, { ...settings, encryptedRooms }),
    accounts,
    callbacks,
    connectionCalls: connectionCalls({
      callbacks: () => callbacks,
      calls: () => calls,
      pages: () => pages,
      runAs: () => runAs,
      lifecycle,
    }),
    encryption,
    events,
    lifecycle,
  });
  for (const entry of settings.callbacks) {
    const { callback, ...filter } = typeof entry === 'function' ? { callback: entry } : entry;
    callbacks.addForUsers(callback, filter); // before the outbox, which may start clients
  }
  const { registry } = users;
  const adminSession = adminHttp?.account.session;
  const calls: UserCalls = new UserCalls({
    registry,
    accounts,
    adminSession,
    callbacks,
    encryption,
    encryptedRooms,
    lifecycle,
  });

  const typing = new TypingNotifier(homeserver, signal);
  const sendQueue = new SendQueue(context);
  const roomSender = new RoomSender({
    http,
    users: calls,
    hasEncryption: (userId) => encryption?.isFor(userId) ?? false,
    encryptedRooms,
    onSent: (session, roomId) => typing.end(session, roomId),
  });
  const outbox = new Outbox(homeserver, {
    storage,
    queue: sendQueue,
    sendOnce: (outgoing) => roomSender.send(outgoing),
    sendTimeoutMs: settings.sendTimeoutMs,
    onFailed: (failed) => events.emit('sendFailed', failed),
  });
  const sending = new Sending({ queue: sendQueue, outbox, roomSender, lifecycle });
  const files = new Attachments<CallerSession>(homeserver, {
    maxFileBytes: settings.maxFileBytes,
    lifecycle,
    isEncrypted: (...room) => roomSender.isEncrypted(...room),
    wasSeenEncrypted: (roomId) => encryptedRooms.has(roomId),
    sendMessage: (...message) => sending.sendWithFile(...message),
  });
  const accountData = new AccountData(http);
  const unread = new UnreadReader(calls, clock, { http, timeoutMs: startTimeoutMs });
  const pages: PageReader = new PageReader(http, (...page) => calls.pageDecryption(...page));

  const runAs: RunAsActor = (userId, call, callSignal) =>
    calls.readAs(
      userId,
      async ({ session, userSession }, combined) => {
        try {
          return await call(new Actor(http, session, combined));
        } catch (error) {
          userSession?.requestFailed(error);
          throw error;
        }
      },
      callSignal,
    );
  const deleter =
    adminHttp &&
    new RoomDeleter({
      clock,
      logger,
      request: async (schema, request) =>
        (await adminHttp.runLimited(() => adminHttp.request(schema, request), request.signal)).body,
      onKicked: (userId, roomId) => registry.get(userId)?.checkRoom(roomId),
    });
  const rooms = new Rooms({
    clock,
    serverName,
    adminUserId: admin?.userId,
    lifecycle,
    runAs,
    encryption: encryptedRooms,
    accountData,
    deleter,
  });

  const profiles = new Profiles(homeserver, signal);
  const forget = (userId: string, logOut: boolean): Promise<void> =>
    forgetUser({ accounts, callbacks, encryption, logger, outbox, profiles, users }, userId, logOut);
  const adminApi =
    adminHttp &&
    provisioner &&
    new AdminApi(adminHttp, provisioner, serverName, lifecycle, {
      onDeactivated: (userId) => forget(userId, false),
      onRenamed: (userId) => profiles.forget(userId),
    });
  const measured = { adminHttp, callbacks, encryption, gate, outbox, sendQueue, users };
  const gauges = () => readGauges(measured);
  return {
    settings,
    lifecycle,
    events,
    diagnostics,
    telemetry,
    /** Reads the current values of all gauges. */
    gauges,
    /** Ends the export of the gauges. */
    unregisterGauges: telemetry.observeGauges(gauges),
    transport,
    http,
    gate,
    homeserverCheck,
    /** Undefined without the option `admin`. */
    adminHttp,
    /** Undefined without the option `admin`. */
    adminApi,
    accounts,
    forgetUser: forget,
    callbacks,
    onceLog,
    deadLetters,
    /** Undefined without the option `encryption`. */
    encryption,
    encryptedRooms,
    users,
    calls,
    sendQueue,
    sending,
    outbox,
    /** Resolves when the durable messages of an earlier process are sent, refused or given up. */
    outboxResumed: outbox.resume(),
    pages,
    search: new MessageSearch(http, encryptedRooms),
    rooms,
    files,
    typing,
    profiles,
    accountData,
    ignoredUsers: new IgnoredUsers(accountData),
    receipts: new ReceiptSender(http),
    unread,
    roomList: new RoomList(homeserver, {
      settings: { ...settings, encryptedRooms },
      encryptedRooms,
      accountData,
      unread,
    }),
  };
}

/** The only place that chooses the key store. */
function newEncryption(
  context: Context,
  settings: EncryptionSettings,
  parts: Omit<EncryptionOptions, 'settings' | 'openKeys'>,
): Encryption {
  const openKeys = async (): Promise<KeyStore> => {
    const { SqliteKeyStore } = await import('../encryption/store/sqlite/sqlite-key-store.js'); // dynamic: needs SQLite
    return SqliteKeyStore.open(context, settings);
  };
  return new Encryption(context, { settings, openKeys, ...parts });
}

function warnOfNewDevices(logger: Logger): void {
  logger.warn(
    {},
    'encryption without a persistent storage: after a restart each user gets a new device, which cannot decrypt older messages',
  );
}
