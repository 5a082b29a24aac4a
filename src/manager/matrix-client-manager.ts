import { randomUUID } from 'node:crypto';
import { inspect } from 'node:util';
import type { MatrixClient } from '../sdk/matrix-client.js';
import { CallbackRegistry } from '../callbacks/callback-registry.js';
import type { CallbackOptions, ClientCallback } from '../callbacks/callback.js';
import type { ClientInfo } from '../users/client-state.js';
import { delay } from '../core/abort.js';
import { callSchema, readCallOptions } from '../core/call-options.js';
import type { CallOptions } from '../core/call-options.js';
import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import { nextEventLoopTurn } from '../core/event-loop.js';
import { assertUserId } from '../core/ids.js';
import { isError } from '../core/is-error.js';
import { jsonCopy } from '../core/json-copy.js';
import { SingleFlight } from '../core/single-flight.js';
import type { EncryptionStatus, UserVerification } from '../encryption/encryption-status.js';
import type { UserEncryption } from '../sdk/crypto/user-encryption.js';
import type { AnswersOtherRequests } from '../http/failing-time.js';
import { HomeserverHttp } from '../http/homeserver-http.js';
import { MediaHttp } from '../http/media-http.js';
import { ServerVersions } from '../http/server-versions.js';
import { readVersions } from '../http/versions.js';
import type { OpenTransport } from '../core/ports/transport.js';
import { Attachments } from '../files/attachments.js';
import type { DownloadedFile } from '../files/attachments.js';
import { closeBody } from '../files/file-body.js';
import { toContent, toContentPart } from '../sending/content.js';
import { fetchPage } from '../messages/message-fetcher.js';
import type { MessagePage } from '../messages/message-fetcher.js';
import { MessageSender } from '../sending/message-sender.js';
import type { OutgoingMessage } from '../sending/message-sender.js';
import { Outbox } from '../sending/outbox.js';
import type { OutboxEntry } from '../sending/outbox.js';
import { ReceiptSender } from '../ephemeral/receipt-sender.js';
import { TypingNotifier } from '../ephemeral/typing-notifier.js';
import { Accounts } from '../provisioning/accounts.js';
import { ApplicationCredentials } from '../provisioning/application-credentials.js';
import { AdminApi } from '../provisioning/admin-api.js';
import { provisionUserSchema } from '../provisioning/provision-user-options.js';
import type { ProvisionedUser, ProvisionUserOptions } from '../provisioning/provision-user-options.js';
import { ownAdmin, SynapseAdminHttp } from '../provisioning/synapse-admin-http.js';
import { SynapseAdminProvisioner } from '../provisioning/synapse-admin-provisioner.js';
import { HomeserverGate } from '../resilience/homeserver-gate.js';
import type { Gauges } from '../telemetry/gauges.js';
import { ManagerTelemetry } from '../telemetry/manager-telemetry.js';
import type { Connection } from '../users/connection.js';
import { containedSettings } from './contained-settings.js';
import { toDeadLetter, toStoredDeadLetter } from './dead-letters.js';
import type { DeadLetter } from './dead-letters.js';
import { runEndSteps } from './end-steps.js';
import { Encryption } from '../users/encryption.js';
import { EventHub } from './event-hub.js';
import type { ManagerEvents } from './events.js';
import { forgetUser } from './forget-user.js';
import { health } from './health.js';
import { ManagerLifecycle } from '../core/lifecycle.js';
import { UserSessions, withFailureReport } from '../users/user-sessions.js';
import type { CallerSession } from '../users/user-sessions.js';
import type { UserSession } from '../users/user-session.js';
import { readOptions } from './options.js';
import type { MatrixClientManagerOptions, Settings } from './options.js';
import { resetIdentitySchema } from '../encryption/identity/reset-identity-options.js';
import { sendReadReceiptSchema } from '../ephemeral/send-read-receipt-options.js';
import { sendTypingSchema } from '../ephemeral/send-typing-options.js';
import { downloadFileSchema, sendFileSchema } from '../files/file-options.js';
import { forgetUserSchema } from './forget-user-options.js';
import { getRoomMessagesSchema } from '../messages/page-options.js';
import { listSendsSchema } from '../sending/list-sends-options.js';
import { sendMessageSchema } from '../sending/send-message-options.js';
import { connectSchema } from '../users/connect-options.js';
import { startClientSchema } from '../users/start-client-options.js';
import type { ResetIdentityOptions } from '../encryption/identity/reset-identity-options.js';
import type { SendReadReceiptOptions } from '../ephemeral/send-read-receipt-options.js';
import type { SendTypingOptions } from '../ephemeral/send-typing-options.js';
import type { DownloadFileOptions, SendFileOptions } from '../files/file-options.js';
import type { ForgetUserOptions } from './forget-user-options.js';
import type { Health } from './health.js';
import type { ManagerStats } from './manager-stats.js';
import type { GetRoomMessagesOptions } from '../messages/page-options.js';
import type { ListSendsOptions } from '../sending/list-sends-options.js';
import type { SendMessageOptions } from '../sending/send-message-options.js';
import type { ConnectOptions } from '../users/connect-options.js';
import type { StartClientOptions } from '../users/start-client-options.js';
import { EncryptedRoomSender } from '../users/encrypted-room-sender.js';

/** `checkHealth()` sends no request if the homeserver has answered any request within this time, in milliseconds. */
const RECENT_ANSWER_MS = 35_000;

/**
 * Manages the Matrix accounts and clients of an application's users. Each active user has a live client, and callbacks
 * receive the user's events. Messages are read from memory or from the homeserver. Make one manager per homeserver and
 * process.
 *
 * This file is long because it lists the library's operations; each method checks its arguments and delegates.
 *
 * @example
 * const manager = new MatrixClientManager({ homeserverUrl, admin: { userId, accessToken } });
 * const alice = await manager.provisionUser({ username: 'alice' });
 * await manager.startClient({ userId: alice.userId, callbacks: [(event) => console.log(event.type)] });
 */
export class MatrixClientManager implements AsyncDisposable {
  readonly #settings: Settings;
  readonly #events: EventHub;
  readonly #lifecycle = new ManagerLifecycle();
  readonly #telemetry: ManagerTelemetry;
  readonly #unregisterGauges: () => void;
  readonly #gate: HomeserverGate;
  readonly #openTransport: OpenTransport;
  readonly #http: HomeserverHttp;
  readonly #versions: ServerVersions;
  readonly #adminHttp: SynapseAdminHttp | undefined;
  readonly #adminApi: AdminApi | undefined;
  readonly #accounts: Accounts;
  readonly #encryption: Encryption | undefined;
  readonly #callbacks: CallbackRegistry;
  readonly #users: UserSessions;
  readonly #sender: MessageSender;
  readonly #roomSender: EncryptedRoomSender;
  readonly #outbox: Outbox;
  readonly #attachments: Attachments;
  readonly #typing: TypingNotifier;
  readonly #receipts: ReceiptSender;
  /** Resolves when the durable messages of an earlier process are sent, refused or given up. */
  readonly #outboxResumed: Promise<void>;
  /** Concurrent health checks share one request. */
  readonly #probes = new SingleFlight<unknown>();
  #shutdown: Promise<void> | undefined;

  /**
   * Checks the options; throws `INVALID_OPTIONS`. Makes no request, unless `storage` contains messages that an earlier
   * process accepted with `durable: true` and did not send. The manager then sends these messages.
   */
  constructor(options: MatrixClientManagerOptions) {
    const settings = containedSettings(readOptions(options));
    const { admin, clock, logger, storage, serverName, credentials } = settings;
    this.#settings = settings;
    this.#events = new EventHub(logger);
    const telemetry = new ManagerTelemetry({ ...settings, serverAddress: new URL(settings.homeserverUrl).host });
    this.#telemetry = telemetry;
    this.#openTransport = settings.transport.open();
    const httpOptions = { ...settings, connections: this.#openTransport, telemetry };
    const ungated = new HomeserverHttp(httpOptions);
    this.#gate = new HomeserverGate({
      clock,
      rateLimit: settings.rateLimit,
      adminRateLimit: settings.adminRateLimit,
      probe: () => readVersions(ungated, settings.requestTimeoutMs, this.#lifecycle.signal),
      onStateChanged: (state) => {
        telemetry.homeserver(state.state);
        logger.warn({ ...state }, state.state === 'up' ? 'the homeserver is back' : 'the homeserver is down');
        this.#events.emit('homeserverStateChanged', state);
      },
    });
    this.#http = new HomeserverHttp({ ...httpOptions, gate: this.#gate });
    this.#versions = new ServerVersions(this.#http, clock, settings.requestTimeoutMs, this.#lifecycle.signal);
    if (admin) {
      this.#adminHttp = new SynapseAdminHttp(
        this.#http,
        ownAdmin(this.#http, admin, this.#lifecycle.signal),
        settings.adminConcurrency,
      );
    }
    const adminProvisioner = this.#adminHttp && new SynapseAdminProvisioner({ connection: this.#adminHttp, clock });
    const provisioner = settings.provisioner ?? adminProvisioner;
    if (this.#adminHttp && provisioner) {
      this.#adminApi = new AdminApi(this.#adminHttp, provisioner, serverName, {
        closed: this.#lifecycle.signal,
        onDeactivated: (userId) => this.#forgetUser(userId, false),
      });
    }
    this.#accounts = new Accounts({
      http: this.#http,
      storage,
      provisioner,
      application:
        credentials &&
        new ApplicationCredentials({ source: credentials, clock, logger, signal: this.#lifecycle.signal }),
      admin: this.#adminHttp?.account,
      serverName,
      deviceName: settings.deviceName,
      isDeactivated: async (userId) => (await this.#adminHttp?.isDeactivated(userId)) ?? false,
      onChanged: (changed) => this.#events.emit('credentialsChanged', { userId: changed.userId, credentials: changed }),
      logger,
      signal: this.#lifecycle.signal,
    });
    const authenticate = this.#accounts.authenticate.bind(this.#accounts);
    this.#encryption =
      settings.encryption && new Encryption(settings.encryption, { ...settings, telemetry, authenticate });
    if (settings.encryption && options.storage === undefined && !credentials) {
      logger.warn(
        {},
        'encryption without a persistent storage: after a restart each user gets a new device, which cannot decrypt older messages',
      );
    }
    this.#callbacks = new CallbackRegistry({
      clock,
      attempts: settings.callbackAttempts,
      retryDelayMs: settings.callbackRetryDelayMs,
      timeoutMs: settings.callbackTimeoutMs,
      onError: (event, error, attempt) => {
        logger.warn({ userId: event.userId, roomId: event.roomId, err: error, attempt }, 'a callback failed');
        this.#events.emit('callbackError', { userId: event.userId, event: jsonCopy(event), error, attempt });
      },
      telemetry,
      onAdded: (userId) => this.#users.callbacksChanged(userId),
      onLastRemoved: (userId) => this.#users.callbacksChanged(userId),
      onDeadLetter: async (event, error, attempts, claim) => {
        const letter = toStoredDeadLetter(event, error, attempts, clock.now());
        await storage.addDeadLetter(event.userId, letter, claim).catch((err: unknown) => {
          logger.error({ userId: event.userId, err }, 'storing a dead letter failed; it is retried');
          throw err;
        });
        telemetry.deadLetter();
        this.#events.emit('deadLetter', { userId: event.userId, event: jsonCopy(event), error });
      },
    });
    this.#typing = new TypingNotifier(this.#http, clock);
    this.#receipts = new ReceiptSender(this.#http);
    const answersOtherRequests: AnswersOtherRequests = (since, error) => this.#answersOtherRequests(since, error);
    this.#users = new UserSessions({
      settings,
      http: this.#http,
      versions: this.#versions,
      gate: this.#gate,
      answersOtherRequests,
      telemetry,
      accounts: this.#accounts,
      callbacks: this.#callbacks,
      encryption: this.#encryption,
      events: this.#events,
      lifecycle: this.#lifecycle,
    });
    this.#sender = new MessageSender(this.#http, telemetry);
    this.#roomSender = new EncryptedRoomSender({
      users: this.#users,
      sender: this.#sender,
      typing: this.#typing,
      encryption: this.#encryption,
      lifecycle: this.#lifecycle,
      logger,
    });
    this.#outbox = new Outbox({
      storage,
      sender: this.#sender,
      sendOnce: (outgoing) => this.#roomSender.send(outgoing),
      sendTimeoutMs: settings.sendTimeoutMs,
      answersOtherRequests,
      onFailed: (failed) => this.#events.emit('sendFailed', failed),
      clock,
      logger,
    });
    const media = new MediaHttp({ ...httpOptions, gate: this.#gate });
    this.#attachments = new Attachments(this.#http, media, this.#versions, {
      clock,
      timeoutMs: settings.requestTimeoutMs,
    });
    this.#unregisterGauges = telemetry.registerGauges(() => this.#gauges());
    this.#outboxResumed = this.#outbox.resume().catch((error: unknown) => {
      if (!this.#lifecycle.isClosing)
        logger.error({ err: error }, 'reading the durable messages of an earlier process failed');
    });
  }

  /**
   * Makes the user's account and a session, if they do not exist, and returns the session. Idempotent; stored
   * credentials that still work are returned unchanged, and concurrent calls for a user share one run. For the account
   * of the option `admin` the result is its own session, and only its display name is changed. Throws
   * `INVALID_USER_ID`, `USER_DEACTIVATED`, `FORBIDDEN` (not an admin), `UNSUPPORTED` (no Admin API), `RATE_LIMITED`.
   */
  async provisionUser(options: ProvisionUserOptions): Promise<ProvisionedUser> {
    this.#lifecycle.assertOpen();
    const read = readCallOptions('provisionUser()', provisionUserSchema, options);
    return this.#telemetry.provision(() =>
      this.#lifecycle.rejectWhenClosed(this.#accounts.provision(read), read.signal),
    );
  }

  /**
   * Starts the user's client; resolves after its first sync. Waits for a start that is already in progress; resolves at
   * once if the client is running. Throws `CLIENT_NOT_STARTED` when no credentials are known.
   */
  async startClient(options: StartClientOptions): Promise<ClientInfo> {
    this.#lifecycle.assertOpen();
    const read = readCallOptions('startClient()', startClientSchema, options);
    const { userId, accessToken, deviceId, callbacks = [], signal } = read;
    for (const callback of callbacks) {
      if (!this.#callbacks.has(userId, callback)) this.#callbacks.add(userId, callback);
    }
    await this.#lifecycle.rejectWhenClosed(this.#users.registry.start(userId, { accessToken, deviceId }, signal));
    return this.#users.registry.info(userId) as ClientInfo;
  }

  /**
   * Keeps the user's client live, for instance while a WebSocket or SSE stream of the user is open. Until the
   * connection is closed, the client does not rest, is not stopped as idle or evicted, and is restarted after a
   * failure. A user may have several connections. With `maxClients` clients in use, waits until one is free. Rejects as
   * {@link startClient} does, and with `INVALID_OPTIONS` for bad options; no connection remains then.
   */
  async connect(options: ConnectOptions): Promise<Connection> {
    this.#lifecycle.assertOpen();
    const { callback, types, rooms, backlog, ...read } = readCallOptions('connect()', connectSchema, options);
    if (!callback && (types ?? rooms ?? backlog) !== undefined) {
      const message =
        '`types`, `rooms` and `backlog` of connect() select events for its `callback`: pass a `callback` too';
      throw new MatrixClientManagerError('INVALID_OPTIONS', message);
    }
    return this.#lifecycle.rejectWhenClosed(this.#users.connections.open({ callback, types, rooms, backlog, ...read }));
  }

  /** Stops the user's client. Resolves when it has ended, to whether there was one. The user's callbacks stay registered. */
  async stopClient(userId: string): Promise<boolean> {
    this.#lifecycle.assertOpen();
    assertUserId(userId);
    return this.#users.stop(userId);
  }

  /** Whether the user has a client that is live, reconnecting or starting. */
  hasClient(userId: string): boolean {
    return this.#users.registry.has(userId);
  }

  /** State of the user's client; undefined if there is none. A failed client is listed until it is started or stopped. */
  clientInfo(userId: string): ClientInfo | undefined {
    return this.#users.registry.info(userId);
  }

  listClients(): ClientInfo[] {
    return this.#users.registry.list();
  }

  /** Marks the user as active, which restarts the idle time-out of the client. Returns whether the user has a client. */
  touch(userId: string): boolean {
    this.#lifecycle.assertOpen();
    assertUserId(userId);
    return this.#users.registry.touch(userId);
  }

  /** The user's client, if it is live or reconnecting; does not start one. */
  getClient(userId: string): MatrixClient | undefined {
    return this.#users.registry.get(userId)?.sdkClientIfMade();
  }

  /**
   * Runs `use` with the user's client, which is started if needed. Until `use` ends, the client is not stopped as idle
   * or evicted. Do not keep a reference: after `use` the client may be stopped at any time. Errors of `use` pass
   * through unchanged. Errors of the library pass `isManagerError()`; failed requests of matrix-js-sdk throw its
   * `MatrixError`.
   */
  async withClient<T>(
    userId: string,
    use: (client: MatrixClient) => T | Promise<T>,
    options: CallOptions = {},
  ): Promise<T> {
    this.#lifecycle.assertOpen();
    assertUserId(userId);
    if (typeof use !== 'function')
      throw new MatrixClientManagerError('INVALID_OPTIONS', 'expected `use` to be a function');
    const { signal } = readCallOptions('withClient()', callSchema, options);
    return this.#users.withLease(userId, async (userSession) => use(await userSession.sdkClient()), signal);
  }

  /**
   * Registers a callback for the user's events; the client need not be running. The events of a room are delivered one
   * after the other. In one process, an event that the callback has handled is not delivered to it again. Returns a
   * function that removes this registration.
   */
  addCallback(userId: string, callback: ClientCallback, options?: CallbackOptions): () => void {
    this.#lifecycle.assertOpen();
    assertUserId(userId);
    return this.#callbacks.add(userId, callback, options);
  }

  /** Removes every registration of the callback for the user. Returns whether there was one. */
  removeCallback(userId: string, callback: ClientCallback): boolean {
    return this.#callbacks.remove(userId, callback);
  }

  /**
   * A page of the room's messages, newest first, from the client's memory and, for older messages, from the homeserver.
   * Pass `end` as `from` to get the next, older page; any process accepts it. `end` is absent on the last page, which
   * reaches the oldest event that the user may see.
   * Throws `FORBIDDEN`, `NOT_FOUND`, `INVALID_CURSOR`, `CLIENT_NOT_STARTED` (unknown user).
   */
  getRoomMessages(options: GetRoomMessagesOptions): Promise<MessagePage>;
  getRoomMessages(roomId: string, limit?: number, from?: string, userId?: string): Promise<MessagePage>;
  async getRoomMessages(
    first: string | GetRoomMessagesOptions,
    limit?: number,
    from?: string,
    userId?: string,
  ): Promise<MessagePage> {
    this.#lifecycle.assertOpen();
    const asked = typeof first === 'string' ? { roomId: first, limit, from, userId } : first;
    const request = readCallOptions('getRoomMessages()', getRoomMessagesSchema, asked);
    const page = { ...request, limit: request.limit ?? 50, from: request.from ?? undefined };
    const signal = this.#lifecycle.withShutdownSignal(page.signal);
    const reader = await this.#lifecycle.rejectWhenClosed(this.#readerSession(request.userId, signal), page.signal);
    const timeline = reader.userSession?.currentTimeline(page.roomId);
    const decrypt = this.#roomSender.pageDecryption(request.userId, page.roomId, signal);
    const pageRequest = { ...page, signal, decrypt };
    const fetching = withFailureReport(
      reader.userSession,
      fetchPage(this.#http, reader.session, timeline, pageRequest),
    );
    return this.#lifecycle.rejectWhenClosed(fetching, page.signal);
  }

  /**
   * Sends a message (text, HTML with its text, or any content) and resolves when the homeserver has accepted it.
   * Messages of one user to one room are sent in the order of the calls. Ends the user's typing notification in the
   * room. Throws `INVALID_OPTIONS` (a content that no homeserver accepts), `FORBIDDEN`, `RATE_LIMITED`,
   * `ENCRYPTION_UNAVAILABLE`.
   */
  async sendMessage(options: SendMessageOptions): Promise<{ eventId: string }> {
    this.#lifecycle.assertOpen();
    const read = readCallOptions('sendMessage()', sendMessageSchema, options);
    const { userId, roomId, type = 'm.room.message', txnId = `mcm.${randomUUID()}`, signal } = read;
    const outgoing: OutgoingMessage = { userId, roomId, type, txnId, content: toContent(read, type), signal };
    if (read.durable) return this.#lifecycle.rejectWhenClosed(this.#outbox.send(outgoing), signal);
    const message = { ...outgoing, signal: this.#lifecycle.withShutdownSignal(signal) };
    const sending = this.#sender.inOrder(userId, roomId, () => this.#roomSender.send(message), message.signal);
    return this.#lifecycle.rejectWhenClosed(sending, signal);
  }

  /**
   * Encryption status of the user's device: cross-signing, secret storage, key backup, and their failures. Starts the
   * client if needed. Throws `ENCRYPTION_UNAVAILABLE` for a user without encryption.
   */
  async encryptionStatus(userId: string, options: CallOptions = {}): Promise<EncryptionStatus> {
    const { signal } = readCallOptions('encryptionStatus()', callSchema, options);
    return this.#withEncryption(userId, ({ identity }) => identity.status(), signal);
  }

  /**
   * What the user's client knows about the keys of another user, or of the user: whether there are cross-signing keys,
   * which keys and devices are signed, and whether the keys have changed. Starts the client if needed. Throws
   * `ENCRYPTION_UNAVAILABLE`.
   */
  async userVerification(userId: string, otherUserId: string, options: CallOptions = {}): Promise<UserVerification> {
    assertUserId(otherUserId);
    const { signal } = readCallOptions('userVerification()', callSchema, options);
    return this.#withEncryption(userId, ({ identity }) => identity.verificationOf(otherUserId), signal);
  }

  /**
   * Signs the other user's current cross-signing keys with the user's. The application must know by other means that
   * the keys are that user's. With `trust: 'verified'`, the other user's signed devices then receive room keys. Throws
   * `ENCRYPTION_UNAVAILABLE`, `NOT_FOUND` if the other user has no cross-signing keys, and `ENCRYPTION_SETUP_FAILED` if
   * the user's own private keys are not on this device.
   */
  async verifyUser(userId: string, otherUserId: string, options: CallOptions = {}): Promise<UserVerification> {
    assertUserId(otherUserId);
    const { signal } = readCallOptions('verifyUser()', callSchema, options);
    return this.#withEncryption(userId, ({ identity, ended }) => identity.verify(otherUserId, ended), signal);
  }

  /**
   * Replaces the user's cross-signing keys, secret storage and key backup, for instance after the recovery key was
   * lost. Other users see that the identity has changed; room keys in the old backup are lost. `authenticate` answers
   * the homeserver's user-interactive authentication, by default with a temporary password. Throws
   * `ENCRYPTION_UNAVAILABLE`, and `ENCRYPTION_SETUP_FAILED` if the homeserver refuses or the application does not store
   * the new recovery key.
   */
  async resetIdentity(userId: string, options: ResetIdentityOptions = {}): Promise<EncryptionStatus> {
    const { authenticate, signal } = readCallOptions('resetIdentity()', resetIdentitySchema, options);
    const reset = async ({ identity, ended }: UserEncryption): Promise<EncryptionStatus> => {
      await identity.reset(ended, authenticate);
      return identity.status();
    };
    return this.#withEncryption(userId, reset, signal);
  }

  /**
   * Uploads a file and sends a message with it; in an encrypted room the file is encrypted. A stream with a `size` is
   * uploaded in constant memory. Throws as {@link sendMessage} does, and `FILE_TOO_LARGE` before the upload starts.
   * After a failure the stream is closed.
   */
  async sendFile(options: SendFileOptions): Promise<{ eventId: string; contentUri: string }> {
    try {
      return await this.#sendFile(options);
    } catch (error) {
      closeBody((options as Partial<SendFileOptions> | null | undefined)?.file?.body);
      throw error;
    }
  }

  async #sendFile(options: SendFileOptions): Promise<{ eventId: string; contentUri: string }> {
    this.#lifecycle.assertOpen();
    const { userId, roomId, txnId, msgtype, signal, ...read } = readCallOptions('sendFile()', sendFileSchema, options);
    const file = { ...read.file, ...(read.file.info && { info: toContentPart(read.file.info, 'file.info') }) };
    const callSignal = this.#lifecycle.withShutdownSignal(signal);
    const send = async (caller: CallerSession): Promise<{ eventId: string; contentUri: string }> => {
      const { session } = caller;
      const encrypted = await this.#roomSender.isEncrypted(caller, userId, roomId, callSignal);
      const { maxFileBytes: maxBytes } = this.#settings;
      const upload = { encrypted, roomId, msgtype, maxBytes, signal: callSignal };
      const { content, contentUri } = await this.#attachments.upload(session, file, upload);
      const { eventId } = await this.sendMessage({ userId, roomId, content, txnId, signal });
      return { eventId, contentUri };
    };
    return this.#users.runAs(userId, send, signal);
  }

  /**
   * Downloads the file of a message, and decrypts an encrypted one. Resolves when the response has started; read the
   * bytes with `stream` or `buffer()`. The call, `stream` and `buffer()` throw `FILE_TOO_LARGE`, `FILE_DAMAGED`,
   * `NOT_FOUND`.
   */
  async downloadFile(options: DownloadFileOptions): Promise<DownloadedFile> {
    this.#lifecycle.assertOpen();
    const read = readCallOptions('downloadFile()', downloadFileSchema, options);
    const { userId, roomId, content, thumbnail = false, maxBytes = this.#settings.maxFileBytes } = read;
    const signal = this.#lifecycle.withShutdownSignal(read.signal);
    const { session } = await this.#lifecycle.rejectWhenClosed(this.#readerSession(userId, signal), read.signal);
    return this.#lifecycle.rejectWhenClosed(
      this.#attachments.download(session, content, { roomId, thumbnail, maxBytes, signal }),
      read.signal,
    );
  }

  /** Messages sent with `durable: true`, oldest first: those in `state`, which is queued, failed, or recently sent. */
  async listSends(options: ListSendsOptions = {}): Promise<OutboxEntry[]> {
    this.#lifecycle.assertOpen();
    const { userId, state = 'queued' } = readCallOptions('listSends()', listSendsSchema, options);
    return this.#outbox.list(userId, state);
  }

  /**
   * Deletes a message sent with `durable: true`; resolves to whether there was one. If it is being sent, the send is
   * aborted, so that the room's next message is sent; the homeserver may still receive the aborted one.
   */
  async discardSend(userId: string, txnId: string): Promise<boolean> {
    this.#lifecycle.assertOpen();
    assertUserId(userId);
    return this.#outbox.discard(userId, txnId);
  }

  /** Starts or ends the user's typing notification in the room. Makes no request if that would not change the state. */
  async sendTyping(options: SendTypingOptions): Promise<void> {
    this.#lifecycle.assertOpen();
    const read = readCallOptions('sendTyping()', sendTypingSchema, options);
    const { userId, roomId, typing, timeoutMs = 30_000, signal } = read;
    await this.#users.runAs(
      userId,
      ({ session }) => this.#typing.set(session, roomId, typing, timeoutMs, this.#lifecycle.withShutdownSignal(signal)),
      signal,
    );
  }

  /** Sends a read receipt for the event, public or private. Read receipts never move backwards. */
  async sendReadReceipt(options: SendReadReceiptOptions): Promise<void> {
    this.#lifecycle.assertOpen();
    const read = readCallOptions('sendReadReceipt()', sendReadReceiptSchema, options);
    const { userId, roomId, eventId, private: isPrivate = false, signal } = read;
    const send = ({ session, userSession }: CallerSession): Promise<void> => {
      const timeline = userSession?.timeline(roomId);
      const receipt = { roomId, eventId, isPrivate, signal: this.#lifecycle.withShutdownSignal(signal) };
      return this.#receipts.send(session, receipt, (a, b) => timeline?.isNotAfter(a, b));
    };
    await this.#users.runAs(userId, send, signal);
  }

  /** Events for which a callback failed `callbackAttempts` times, oldest first; at most 1,000. */
  async deadLetters(userId: string): Promise<DeadLetter[]> {
    this.#lifecycle.assertOpen();
    assertUserId(userId);
    return (await this.#settings.storage.listDeadLetters(userId, { limit: 1_000 })).map(toDeadLetter);
  }

  /**
   * Calls the callbacks that failed for the event once more; in another process than the original one, all callbacks.
   * Resolves to true after success, and deletes the dead letter; to false if a callback failed or the id is unknown.
   */
  async retryDeadLetter(userId: string, id: string): Promise<boolean> {
    const letter = (await this.deadLetters(userId)).find((each) => each.id === id);
    if (!letter) return false;
    const taken = this.#callbacks.redeliver(letter.event, this.#lifecycle.signal);
    if (!(await this.#lifecycle.rejectWhenClosed(taken))) return false;
    return this.#settings.storage.deleteDeadLetter(userId, id);
  }

  /**
   * Re-encrypts the keys of all devices with a new secret, in one transaction; clients keep running. Afterwards the
   * file of `encryption` opens with the new secret only. Throws `INVALID_OPTIONS`, or `STORAGE` if the file cannot be
   * used.
   */
  async rotateEncryptionSecret(secret: string | Uint8Array): Promise<void> {
    this.#lifecycle.assertOpen();
    if (this.#encryption) return this.#lifecycle.rejectWhenClosed(this.#encryption.rotateSecret(secret));
    throw new MatrixClientManagerError('INVALID_OPTIONS', 'rotateEncryptionSecret() needs the option `encryption`');
  }

  /**
   * Stops the user's client and deletes everything that the library has stored about the user: session, callbacks,
   * keys, position, dead letters and queued sends. Calls `credentials.delete`. The account itself is unchanged; after
   * another `provisionUser` the user has a new device. A failed step does not prevent the others; repeat the call after
   * a failure.
   */
  async forgetUser(userId: string, options: ForgetUserOptions = {}): Promise<void> {
    this.#lifecycle.assertOpen();
    assertUserId(userId);
    const { logOut = true } = readCallOptions('forgetUser()', forgetUserSchema, options);
    await this.#lifecycle.rejectWhenClosed(this.#forgetUser(userId, logOut));
  }

  /** The user id of the option `admin`, for calls that take a `userId`; undefined without that option. */
  get adminUserId(): string | undefined {
    return this.#settings.admin?.userId;
  }

  /** Admin API calls other than provisioning. Throws `INVALID_OPTIONS` when the manager has no `admin`. */
  get admin(): AdminApi {
    this.#lifecycle.assertOpen();
    if (this.#adminApi) return this.#adminApi;
    throw new MatrixClientManagerError('INVALID_OPTIONS', 'manager.admin needs the option `admin`');
  }

  /** Calls `listener` for each event of this name. Its errors are logged. Returns a function that removes the listener. */
  on<Name extends keyof ManagerEvents>(name: Name, listener: ManagerEvents[Name]): () => void {
    return this.#events.on(name, listener);
  }

  off<Name extends keyof ManagerEvents>(name: Name, listener: ManagerEvents[Name]): void {
    this.#events.off(name, listener);
  }

  /** Current gauges, and counts since the manager was made: the same numbers that OpenTelemetry exports. */
  stats(): ManagerStats {
    return { ...this.#telemetry.stats(), ...this.#gauges() };
  }

  /**
   * Whether the homeserver answers and the clients are connected. Makes a request only if the homeserver has answered
   * no other one recently. Rejects only with `MANAGER_CLOSED`.
   */
  async checkHealth(): Promise<Health> {
    this.#lifecycle.assertOpen();
    const { clock } = this.#settings;
    const { lastAnswerAt, state } = this.#gate;
    const isAnswerOld = lastAnswerAt === undefined || clock.now() - lastAnswerAt > RECENT_ANSWER_MS;
    if (state.state === 'up' && isAnswerOld) {
      try {
        await this.#probe();
      } catch (error) {
        return { status: 'down', reasons: [isError(error) ? error.message : String(error)] };
      }
    }
    return health(this.#gauges(), this.#gate.state, clock.now());
  }

  /**
   * Waits up to `stopTimeoutMs` for sends in progress, then stops every client and closes the storage. Idempotent.
   * After the first call, every other method rejects with `MANAGER_CLOSED`. A step that fails or times out does not
   * prevent the later ones. After the last step, rejects with the failure, or with an AggregateError of several.
   */
  shutdown(): Promise<void> {
    this.#lifecycle.beginShutdown();
    return (this.#shutdown ??= this.#runShutdown());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.shutdown();
  }

  [inspect.custom](): string {
    return `MatrixClientManager(${this.#settings.homeserverUrl})`;
  }

  async #runShutdown(): Promise<void> {
    const { clock, logger, stopTimeoutMs, storage } = this.#settings;
    const clientsTimeoutMs = stopTimeoutMs + 60_000;
    await runEndSteps(
      [
        { doing: 'finishing sends', run: () => this.#finishSends(), timeoutMs: stopTimeoutMs + 1_000 },
        { doing: 'aborting calls', run: () => this.#lifecycle.abortInFlight() },
        { doing: 'ending the homeserver probe', run: () => this.#gate.close() },
        { doing: 'stopping the clients', run: () => this.#users.registry.close(), timeoutMs: clientsTimeoutMs },
        { doing: 'waiting for logins and sends', run: () => this.#waitForLoginsAndSends() },
        { doing: 'waiting for callbacks', run: () => this.#users.waitForDeferredStops() },
        { doing: 'closing connections', run: () => this.#users.connections.close() },
        { doing: 'unregistering the metrics', run: () => this.#unregisterGauges() },
        { doing: 'removing callbacks', run: () => this.#callbacks.clear() },
        { doing: 'ending requests', run: nextEventLoopTurn }, // aborted requests clear their timers in this turn
        { doing: 'closing the transport', run: () => this.#openTransport.close() },
        { doing: 'closing the crypto store', run: () => this.#encryption?.close() },
        { doing: 'closing the storage', run: () => storage.close() },
      ],
      { clock, logger },
    ).finally(() => this.#events.close());
  }

  /** Waits up to `stopTimeoutMs` for sends in progress. Durable sends are aborted; the next process sends them. */
  async #finishSends(): Promise<void> {
    const { clock, stopTimeoutMs } = this.#settings;
    const timeout = new AbortController();
    this.#outbox.close();
    await Promise.race([
      this.#sender.settled(),
      delay(clock, stopTimeoutMs, timeout.signal, 'shutting down').catch(() => {}),
    ]);
    timeout.abort();
  }

  async #waitForLoginsAndSends(): Promise<void> {
    await Promise.all([this.#accounts.settled(), this.#outboxResumed, this.#sender.settled()]);
  }

  async #forgetUser(userId: string, logOut: boolean): Promise<void> {
    const parts = { accounts: this.#accounts, callbacks: this.#callbacks, encryption: this.#encryption };
    const { logger } = this.#settings;
    await forgetUser({ ...parts, outbox: this.#outbox, users: this.#users, logger }, userId, logOut);
  }

  async #withEncryption<T>(
    userId: string,
    use: (encryption: UserEncryption) => Promise<T>,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    this.#lifecycle.assertOpen();
    assertUserId(userId);
    const useIfThere = ({ encryption }: UserSession): Promise<T> => {
      if (encryption) return use(encryption);
      const message = `${userId} has no encryption: see the options \`encryption\` and \`encryption.users\``;
      throw new MatrixClientManagerError('ENCRYPTION_UNAVAILABLE', message, { userId });
    };
    return this.#users.withLease(userId, useIfThere, signal);
  }

  /** The session to read with: the user's, or the admin's without a `userId`. */
  async #readerSession(userId: string | undefined, signal: AbortSignal): Promise<CallerSession> {
    if (userId !== undefined) return this.#users.readerFor(userId, signal);
    if (this.#adminHttp) return { session: this.#adminHttp.session };
    throw new MatrixClientManagerError(
      'INVALID_OPTIONS',
      'expected `userId`: without it the account of the option `admin` reads, and the manager has none',
    );
  }

  #probe(): Promise<unknown> {
    const { requestTimeoutMs } = this.#settings;
    return this.#probes.run('', () => readVersions(this.#http, requestTimeoutMs, this.#lifecycle.signal));
  }

  /** Whether the homeserver answers other requests than the one that failed with `error`. `since`: Unix time in milliseconds. */
  async #answersOtherRequests(since: number, error: unknown): Promise<boolean> {
    const { lastAnswerAt = -Infinity, state } = this.#gate;
    if (state.state === 'down') return false;
    // INVALID_RESPONSE may be the answer of a proxy while the homeserver is down, so `lastAnswerAt` does not count then.
    if (lastAnswerAt >= since && !isManagerError(error, 'INVALID_RESPONSE')) return true;
    return this.#probe().then(
      () => true,
      () => false,
    );
  }

  #gauges(): Gauges & Pick<ManagerStats, 'clients'> {
    const openDevices = this.#encryption?.openDevices ?? 0;
    const admin = this.#adminHttp?.load ?? { running: 0, waiting: 0 };
    const queues = {
      send: this.#sender.queued,
      outbox: this.#outbox.queued,
      rateLimiter: this.#gate.waiting.requests,
      starts: this.#users.registry.queuedStarts,
      admin: admin.waiting,
      homeserver: this.#gate.waiting.clients,
    };
    const { stalled: stalledSends, givenUp: givenUpSends } = this.#outbox;
    return {
      ...this.#users.gauges(),
      stalledSends,
      givenUpSends,
      overdueCallbacks: this.#callbacks.overdue,
      homeserver: this.#gate.state.state,
      openDevices,
      queues,
      admin,
    };
  }
}
