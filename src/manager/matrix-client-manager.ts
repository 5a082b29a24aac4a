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
import type { Outgoing } from '../sending/message-sender.js';
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
import { fromStored, toStored } from './dead-letters.js';
import type { DeadLetter } from './dead-letters.js';
import { endInOrder } from './end-steps.js';
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

/** Having answered within this time, the homeserver counts as up without being asked, in milliseconds. */
const HEARD_OF_MS = 35_000;

/**
 * Gives each user of an application a Matrix account, a live client while they are active, their events through
 * callbacks, and their messages from memory or from the homeserver. Make one per homeserver and process.
 *
 * This file is long because it is the list of what the library does; each method checks, then hands over.
 *
 * @example
 * const manager = new MatrixClientManager({ homeserverUrl, admin: { userId, accessToken } });
 * const alice = await manager.provisionUser({ username: 'alice' });
 * await manager.startClient({ userId: alice.userId, callbacks: [(event) => console.log(event.type)] });
 */
export class MatrixClientManager implements AsyncDisposable {
  readonly #settings: Settings;
  readonly #events: EventHub;
  readonly #lifetime = new ManagerLifecycle();
  readonly #telemetry: ManagerTelemetry;
  /** Ends the reading of gauges. */
  readonly #unobserve: () => void;
  readonly #gate: HomeserverGate;
  readonly #connections: OpenTransport;
  readonly #http: HomeserverHttp;
  readonly #versions: ServerVersions;
  readonly #adminHttp: SynapseAdminHttp | undefined;
  readonly #adminApi: AdminApi | undefined;
  readonly #accounts: Accounts;
  readonly #encryption: Encryption | undefined;
  readonly #callbacks: CallbackRegistry;
  readonly #users: UserSessions;
  readonly #sender: MessageSender;
  readonly #posts: EncryptedRoomSender;
  readonly #outbox: Outbox;
  readonly #attachments: Attachments;
  readonly #typing: TypingNotifier;
  readonly #receipts: ReceiptSender;
  /** Resolves when what an earlier process had accepted is sent. */
  readonly #resumed: Promise<void>;
  /** Looks for the homeserver, once for all who want to know. */
  readonly #looking = new SingleFlight<unknown>();
  #shutdown: Promise<void> | undefined;

  /**
   * Checks the options; throws `INVALID_OPTIONS`. Connects to nothing, unless `storage` holds messages that an earlier
   * process accepted with `durable: true` and did not send: those are sent now.
   */
  constructor(options: MatrixClientManagerOptions) {
    const settings = containedSettings(readOptions(options));
    const { admin, clock, logger, storage, serverName, credentials } = settings;
    this.#settings = settings;
    this.#events = new EventHub(logger);
    const telemetry = new ManagerTelemetry({ ...settings, serverAddress: new URL(settings.homeserverUrl).host });
    this.#telemetry = telemetry;
    this.#connections = settings.transport.open();
    const carried = { ...settings, connections: this.#connections, telemetry };
    const ungated = new HomeserverHttp(carried);
    this.#gate = new HomeserverGate({
      clock,
      rateLimit: settings.rateLimit,
      adminRateLimit: settings.adminRateLimit,
      probe: () => readVersions(ungated, settings.requestTimeoutMs, this.#lifetime.signal),
      onStateChanged: (state) => {
        telemetry.homeserver(state.state);
        logger.warn({ ...state }, state.state === 'up' ? 'the homeserver is back' : 'the homeserver is down');
        this.#events.emit('homeserverStateChanged', state);
      },
    });
    this.#http = new HomeserverHttp({ ...carried, gate: this.#gate });
    this.#versions = new ServerVersions(this.#http, clock, settings.requestTimeoutMs, this.#lifetime.signal);
    if (admin) {
      this.#adminHttp = new SynapseAdminHttp(
        this.#http,
        ownAdmin(this.#http, admin, this.#lifetime.signal),
        settings.adminConcurrency,
      );
    }
    const own = this.#adminHttp && new SynapseAdminProvisioner({ connection: this.#adminHttp, clock });
    const provisioner = settings.provisioner ?? own;
    if (this.#adminHttp && provisioner) {
      this.#adminApi = new AdminApi(this.#adminHttp, provisioner, serverName, {
        closed: this.#lifetime.signal,
        onDeactivated: (userId) => this.#forget(userId, false),
      });
    }
    this.#accounts = new Accounts({
      http: this.#http,
      storage,
      provisioner,
      application:
        credentials &&
        new ApplicationCredentials({ source: credentials, clock, logger, signal: this.#lifetime.signal }),
      admin: this.#adminHttp?.own,
      serverName,
      deviceName: settings.deviceName,
      isDeactivated: async (userId) => (await this.#adminHttp?.isDeactivated(userId)) ?? false,
      onChanged: (changed) => this.#events.emit('credentialsChanged', { userId: changed.userId, credentials: changed }),
      logger,
      signal: this.#lifetime.signal,
    });
    const authenticate = this.#accounts.authenticate.bind(this.#accounts);
    this.#encryption =
      settings.encryption && new Encryption(settings.encryption, { ...settings, telemetry, authenticate });
    if (settings.encryption && options.storage === undefined && !credentials) {
      logger.warn(
        {},
        'encryption without a storage: after a restart each user gets a new device, which reads no history',
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
      onDeadLetter: async (event, error, attempts) => {
        const letter = toStored(event, error, attempts, clock.now());
        await storage.addDeadLetter(event.userId, letter).catch((err: unknown) => {
          logger.error({ userId: event.userId, err }, 'storing a dead letter failed, trying again');
          throw err;
        });
        telemetry.deadLetter();
        this.#events.emit('deadLetter', { userId: event.userId, event: jsonCopy(event), error });
      },
    });
    this.#typing = new TypingNotifier(this.#http, clock);
    this.#receipts = new ReceiptSender(this.#http);
    const answersOtherwise: AnswersOtherRequests = (since, error) => this.#answersOtherwise(since, error);
    this.#users = new UserSessions({
      settings,
      http: this.#http,
      versions: this.#versions,
      gate: this.#gate,
      answersOtherwise,
      telemetry,
      accounts: this.#accounts,
      callbacks: this.#callbacks,
      encryption: this.#encryption,
      events: this.#events,
      lifetime: this.#lifetime,
    });
    this.#sender = new MessageSender(this.#http, telemetry);
    this.#posts = new EncryptedRoomSender({
      users: this.#users,
      sender: this.#sender,
      typing: this.#typing,
      encryption: this.#encryption,
      lifetime: this.#lifetime,
      logger,
    });
    this.#outbox = new Outbox({
      storage,
      sender: this.#sender,
      post: (outgoing) => this.#posts.send(outgoing),
      sendTimeoutMs: settings.sendTimeoutMs,
      answersOtherwise,
      onFailed: (failed) => this.#events.emit('sendFailed', failed),
      clock,
      logger,
    });
    const media = new MediaHttp({ ...carried, gate: this.#gate });
    this.#attachments = new Attachments(this.#http, media, this.#versions, {
      clock,
      timeoutMs: settings.requestTimeoutMs,
    });
    this.#unobserve = telemetry.registerGauges(() => this.#gauges());
    this.#resumed = this.#outbox.resume().catch((error: unknown) => {
      if (!this.#lifetime.isClosing) logger.error({ err: error }, 'reading the messages of an earlier process failed');
    });
  }

  /**
   * The user's account and a working session on it; makes what is missing. Idempotent, and one flight per user however
   * many ask at once. Stored credentials that still work are returned as they are. For the account of the option `admin`
   * they are those of its own session: its password and its sessions stay as they are, and only its name can be set.
   * Throws `INVALID_USER_ID`, `USER_DEACTIVATED`, `FORBIDDEN` (not an admin), `UNSUPPORTED` (no Admin API), `RATE_LIMITED`.
   */
  async provisionUser(options: ProvisionUserOptions): Promise<ProvisionedUser> {
    this.#lifetime.assertOpen();
    const read = readCallOptions('provisionUser()', provisionUserSchema, options);
    return this.#telemetry.provision(() =>
      this.#lifetime.rejectWhenClosed(this.#accounts.provision(read), read.signal),
    );
  }

  /**
   * Starts the user's client; resolves when its first sync is through. Joins a start that is under way, and does
   * nothing for a client that runs. Throws `CLIENT_NOT_STARTED` when no credentials are known.
   */
  async startClient(options: StartClientOptions): Promise<ClientInfo> {
    this.#lifetime.assertOpen();
    const read = readCallOptions('startClient()', startClientSchema, options);
    const { userId, accessToken, deviceId, callbacks = [], signal } = read;
    for (const callback of callbacks) {
      if (!this.#callbacks.has(userId, callback)) this.#callbacks.add(userId, callback);
    }
    await this.#lifetime.rejectWhenClosed(this.#users.registry.start(userId, { accessToken, deviceId }, signal));
    return this.#users.registry.info(userId) as ClientInfo;
  }

  /**
   * Says that somebody watches, such as a WebSocket or an SSE stream of the user: starts their client if needed, and
   * until the connection is closed the client is neither idle nor evicted, does not rest, and is started again when it
   * has failed. Any number may be open for one user. Under `maxClients`, with all clients in use, this waits its turn.
   * Rejects as {@link startClient} does, and leaves nothing then; for bad options with `INVALID_OPTIONS`.
   */
  async connect(options: ConnectOptions): Promise<Connection> {
    this.#lifetime.assertOpen();
    const { callback, types, rooms, backlog, ...read } = readCallOptions('connect()', connectSchema, options);
    if (!callback && (types ?? rooms ?? backlog) !== undefined) {
      const message = 'expected `callback` of connect() with `types`, `rooms` or `backlog`, which say what it gets';
      throw new MatrixClientManagerError('INVALID_OPTIONS', message);
    }
    return this.#lifetime.rejectWhenClosed(this.#users.connections.open({ callback, types, rooms, backlog, ...read }));
  }

  /** Stops the user's client, if there is one; resolves when nothing of it runs any more. Its callbacks stay registered. */
  async stopClient(userId: string): Promise<boolean> {
    this.#lifetime.assertOpen();
    assertUserId(userId);
    return this.#users.stop(userId);
  }

  /** Whether the user has a client that is live, reconnecting or starting. */
  hasClient(userId: string): boolean {
    return this.#users.registry.has(userId);
  }

  /** How the user's client is; undefined when there is none. One that failed is shown until it is started or stopped. */
  clientInfo(userId: string): ClientInfo | undefined {
    return this.#users.registry.info(userId);
  }

  listClients(): ClientInfo[] {
    return this.#users.registry.list();
  }

  /** Notes that the user is active, so that their client is not idle. Returns whether they have a client. */
  touch(userId: string): boolean {
    this.#lifetime.assertOpen();
    assertUserId(userId);
    return this.#users.registry.touch(userId);
  }

  /** The user's client while it is live or reconnecting; does not start one. */
  getClient(userId: string): MatrixClient | undefined {
    return this.#users.registry.get(userId)?.materializeSdkClient();
  }

  /**
   * Runs `use` with the user's client, started if needed. Until `use` is done the client is neither idle nor evicted.
   * Do not keep the client: after `use` it may be stopped at any time. What `use` throws comes through as it is; the
   * library's own errors pass `isManagerError()`, those of matrix-js-sdk's requests are its `MatrixError`s.
   */
  async withClient<T>(
    userId: string,
    use: (client: MatrixClient) => T | Promise<T>,
    options: CallOptions = {},
  ): Promise<T> {
    this.#lifetime.assertOpen();
    assertUserId(userId);
    if (typeof use !== 'function')
      throw new MatrixClientManagerError('INVALID_OPTIONS', 'expected `use` to be a function');
    const { signal } = readCallOptions('withClient()', callSchema, options);
    return this.#users.withLease(userId, (userSession) => use(userSession.materializeSdkClient()), signal);
  }

  /**
   * Registers a callback for the user's events, whether a client runs or not. A callback gets the events of a room one
   * after the other, and no event twice. Returns what undoes the registration.
   */
  addCallback(userId: string, callback: ClientCallback, options?: CallbackOptions): () => void {
    this.#lifetime.assertOpen();
    assertUserId(userId);
    return this.#callbacks.add(userId, callback, options);
  }

  /** Undoes every registration of the callback for the user; returns whether there was one. */
  removeCallback(userId: string, callback: ClientCallback): boolean {
    return this.#callbacks.remove(userId, callback);
  }

  /**
   * A page of the room's history, newest first, from the client's memory as far as it reaches and from the homeserver
   * beyond. `end` leads to the next, older page, on any process; it is absent at the beginning of what the user may see.
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
    this.#lifetime.assertOpen();
    const asked = typeof first === 'string' ? { roomId: first, limit, from, userId } : first;
    const request = readCallOptions('getRoomMessages()', getRoomMessagesSchema, asked);
    const page = { ...request, limit: request.limit ?? 50, from: request.from ?? undefined };
    const signal = this.#lifetime.withShutdownSignal(page.signal);
    const reader = await this.#lifetime.rejectWhenClosed(this.#reader(request.userId, signal), page.signal);
    const timeline = reader.userSession?.currentTimeline(page.roomId);
    const decrypt = this.#posts.pageDecryption(request.userId, page.roomId, signal);
    const pageRequest = { ...page, signal, decrypt };
    const fetching = withFailureReport(
      reader.userSession,
      fetchPage(this.#http, reader.session, timeline, pageRequest),
    );
    return this.#lifetime.rejectWhenClosed(fetching, page.signal);
  }

  /**
   * Sends a message (text, HTML with its text, or any content) and resolves when the homeserver has it. Messages of
   * one user to one room go out in the order of the calls. Ends the user's typing notification there.
   * Throws `INVALID_OPTIONS` (a content that no homeserver takes), `FORBIDDEN`, `RATE_LIMITED`, `ENCRYPTION_UNAVAILABLE`.
   */
  async sendMessage(options: SendMessageOptions): Promise<{ eventId: string }> {
    this.#lifetime.assertOpen();
    const read = readCallOptions('sendMessage()', sendMessageSchema, options);
    const { userId, roomId, type = 'm.room.message', txnId = `mcm.${randomUUID()}`, signal } = read;
    const outgoing: Outgoing = { userId, roomId, type, txnId, content: toContent(read, type), signal };
    if (read.durable) return this.#lifetime.rejectWhenClosed(this.#outbox.send(outgoing), signal);
    const ending = { ...outgoing, signal: this.#lifetime.withShutdownSignal(signal) };
    const sending = this.#sender.inOrder(userId, roomId, () => this.#posts.send(ending), ending.signal);
    return this.#lifetime.rejectWhenClosed(sending, signal);
  }

  /**
   * How the user's encryption stands on the device of their client, which is started if needed: cross-signing, secret
   * storage, key backup, and what failed of them. Throws `ENCRYPTION_UNAVAILABLE` for a user without encryption.
   */
  async encryptionStatus(userId: string, options: CallOptions = {}): Promise<EncryptionStatus> {
    const { signal } = readCallOptions('encryptionStatus()', callSchema, options);
    return this.#withIdentity(userId, ({ identity }) => identity.status(), signal);
  }

  /**
   * What the user's client knows of another user, or of their own devices: whether they have cross-signing keys, who
   * has signed what, and whether their keys have changed. Starts the client if needed. Throws `ENCRYPTION_UNAVAILABLE`.
   */
  async userVerification(userId: string, otherUserId: string, options: CallOptions = {}): Promise<UserVerification> {
    assertUserId(otherUserId);
    const { signal } = readCallOptions('userVerification()', callSchema, options);
    return this.#withIdentity(userId, ({ identity }) => identity.verificationOf(otherUserId), signal);
  }

  /**
   * Has the user sign the other's cross-signing keys as they are now: for an application that knows otherwise whose
   * they are. With `trust: 'verified'` their signed devices get keys from then on. Throws `ENCRYPTION_UNAVAILABLE`,
   * `NOT_FOUND` where the other has no such keys, `ENCRYPTION_SETUP_FAILED` where the user's own are not at hand.
   */
  async verifyUser(userId: string, otherUserId: string, options: CallOptions = {}): Promise<UserVerification> {
    assertUserId(otherUserId);
    const { signal } = readCallOptions('verifyUser()', callSchema, options);
    return this.#withIdentity(userId, ({ identity, ended }) => identity.verify(otherUserId, ended), signal);
  }

  /**
   * Replaces the user's cross-signing keys, secret storage and key backup, for who has lost the recovery key: others
   * see that their identity has changed, and the history in the old backup is gone. The homeserver wants to know that
   * it is the user: `authenticate` proves it, by default with a password of the moment. Throws `ENCRYPTION_UNAVAILABLE`, and
   * `ENCRYPTION_SETUP_FAILED` where the homeserver refuses or the application does not take the new recovery key.
   */
  async resetIdentity(userId: string, options: ResetIdentityOptions = {}): Promise<EncryptionStatus> {
    const { authenticate, signal } = readCallOptions('resetIdentity()', resetIdentitySchema, options);
    const reset = async ({ identity, ended }: UserEncryption): Promise<EncryptionStatus> => {
      await identity.reset(ended, authenticate);
      return identity.status();
    };
    return this.#withIdentity(userId, reset, signal);
  }

  /**
   * Uploads a file, encrypted where the room is, and sends the message with it. A stream with its `size` flows, in
   * constant memory. Throws as {@link sendMessage} does, and `FILE_TOO_LARGE` before anything is uploaded; the stream
   * is closed then, read or not.
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
    this.#lifetime.assertOpen();
    const { userId, roomId, txnId, msgtype, signal, ...read } = readCallOptions('sendFile()', sendFileSchema, options);
    const file = { ...read.file, ...(read.file.info && { info: toContentPart(read.file.info, 'file.info') }) };
    const ending = this.#lifetime.withShutdownSignal(signal);
    const send = async (actor: CallerSession): Promise<{ eventId: string; contentUri: string }> => {
      const { session } = actor;
      const encrypted = await this.#posts.isEncrypted(actor, userId, roomId, ending);
      const { maxFileBytes: maxBytes } = this.#settings;
      const upload = { encrypted, roomId, msgtype, maxBytes, signal: ending };
      const { content, contentUri } = await this.#attachments.upload(session, file, upload);
      const { eventId } = await this.sendMessage({ userId, roomId, content, txnId, signal });
      return { eventId, contentUri };
    };
    return this.#users.runAs(userId, send, signal);
  }

  /**
   * Downloads the file that came with a message, and decrypts it where it is encrypted. Resolves when its bytes begin
   * to come. Throws `FILE_TOO_LARGE`, `FILE_DAMAGED`, `NOT_FOUND`; so do its `stream` and `buffer()`.
   */
  async downloadFile(options: DownloadFileOptions): Promise<DownloadedFile> {
    this.#lifetime.assertOpen();
    const read = readCallOptions('downloadFile()', downloadFileSchema, options);
    const { userId, roomId, content, thumbnail = false, maxBytes = this.#settings.maxFileBytes } = read;
    const signal = this.#lifetime.withShutdownSignal(read.signal);
    const { session } = await this.#lifetime.rejectWhenClosed(this.#reader(userId, signal), read.signal);
    return this.#lifetime.rejectWhenClosed(
      this.#attachments.download(session, content, { roomId, thumbnail, maxBytes, signal }),
      read.signal,
    );
  }

  /** Messages sent with `durable: true` that are still to be sent, have failed, or were sent last; oldest first. */
  async listSends(options: ListSendsOptions = {}): Promise<OutboxEntry[]> {
    this.#lifetime.assertOpen();
    const { userId, state = 'queued' } = readCallOptions('listSends()', listSendsSchema, options);
    return this.#outbox.list(userId, state);
  }

  /**
   * Forgets a message sent with `durable: true`; returns whether there was one. One under way is ended, so that the next
   * one of the room goes on; it may still arrive.
   */
  async discardSend(userId: string, txnId: string): Promise<boolean> {
    this.#lifetime.assertOpen();
    assertUserId(userId);
    return this.#outbox.discard(userId, txnId);
  }

  /** Shows or ends that the user is typing. A state that still stands at the homeserver is not sent again. */
  async sendTyping(options: SendTypingOptions): Promise<void> {
    this.#lifetime.assertOpen();
    const read = readCallOptions('sendTyping()', sendTypingSchema, options);
    const { userId, roomId, typing, timeoutMs = 30_000, signal } = read;
    await this.#users.runAs(
      userId,
      ({ session }) => this.#typing.set(session, roomId, typing, timeoutMs, this.#lifetime.withShutdownSignal(signal)),
      signal,
    );
  }

  /** Marks the room as read up to the event, publicly or for the user's own devices only. Never moves backwards. */
  async sendReadReceipt(options: SendReadReceiptOptions): Promise<void> {
    this.#lifetime.assertOpen();
    const read = readCallOptions('sendReadReceipt()', sendReadReceiptSchema, options);
    const { userId, roomId, eventId, private: isPrivate = false, signal } = read;
    const send = ({ session, userSession }: CallerSession): Promise<void> => {
      const timeline = userSession?.timeline(roomId);
      const receipt = { roomId, eventId, isPrivate, signal: this.#lifetime.withShutdownSignal(signal) };
      return this.#receipts.send(session, receipt, (a, b) => timeline?.isNotAfter(a, b));
    };
    await this.#users.runAs(userId, send, signal);
  }

  /** Events that callbacks failed on as often as they may, oldest first. */
  async deadLetters(userId: string): Promise<DeadLetter[]> {
    this.#lifetime.assertOpen();
    assertUserId(userId);
    return (await this.#settings.storage.listDeadLetters(userId, { limit: 1_000 })).map(fromStored);
  }

  /**
   * Gives the event to the callbacks that failed on it once more (to all, in another process than the one it failed in).
   * Resolves to true when they took it, and the letter is gone; to false when it failed again, or there is none.
   */
  async retryDeadLetter(userId: string, id: string): Promise<boolean> {
    const letter = (await this.deadLetters(userId)).find((one) => one.id === id);
    if (!letter) return false;
    const taken = this.#callbacks.redeliver(letter.event, this.#lifetime.signal);
    if (!(await this.#lifetime.rejectWhenClosed(taken))) return false;
    return this.#settings.storage.deleteDeadLetter(userId, id);
  }

  /**
   * Wraps the keys of all devices under another secret, in one step; no client is disturbed. From then on the file of
   * `encryption` opens with the new secret only. Throws `INVALID_OPTIONS`, or `STORAGE` where the file cannot be used.
   */
  async rotateEncryptionSecret(secret: string | Uint8Array): Promise<void> {
    this.#lifetime.assertOpen();
    if (this.#encryption) return this.#lifetime.rejectWhenClosed(this.#encryption.rotateSecret(secret));
    throw new MatrixClientManagerError('INVALID_OPTIONS', 'rotateEncryptionSecret() needs the option `encryption`');
  }

  /**
   * Stops the user's client and deletes everything that the library keeps of them: session, callbacks, keys, position,
   * dead letters and queued sends; `credentials.delete` is called. The account stays as it is; provisioned again, the
   * user has a new device and no past. What fails does not keep the rest from being deleted; call again then.
   */
  async forgetUser(userId: string, options: ForgetUserOptions = {}): Promise<void> {
    this.#lifetime.assertOpen();
    assertUserId(userId);
    const { logOut = true } = readCallOptions('forgetUser()', forgetUserSchema, options);
    await this.#lifetime.rejectWhenClosed(this.#forget(userId, logOut));
  }

  /** The user id of the option `admin`, to act as that account in calls that take a `userId`; undefined without one. */
  get adminUserId(): string | undefined {
    return this.#settings.admin?.userId;
  }

  /** The Admin API calls besides provisioning. Throws `INVALID_OPTIONS` when the manager has no `admin`. */
  get admin(): AdminApi {
    this.#lifetime.assertOpen();
    if (this.#adminApi) return this.#adminApi;
    throw new MatrixClientManagerError('INVALID_OPTIONS', 'manager.admin needs the option `admin`');
  }

  /** Calls `listener` at each of these events; one that throws is logged and harms nobody. Returns what undoes it. */
  on<Name extends keyof ManagerEvents>(name: Name, listener: ManagerEvents[Name]): () => void {
    return this.#events.on(name, listener);
  }

  off<Name extends keyof ManagerEvents>(name: Name, listener: ManagerEvents[Name]): void {
    this.#events.off(name, listener);
  }

  /** What the manager is doing now, and what it has done since it was made: the numbers that OpenTelemetry gets. */
  stats(): ManagerStats {
    return { ...this.#telemetry.stats(), ...this.#gauges() };
  }

  /**
   * Whether the homeserver answers and the clients are connected. Cheap: the homeserver is asked only when nothing has
   * been heard of it for a while. Never rejects but with `MANAGER_CLOSED`.
   */
  async checkHealth(): Promise<Health> {
    this.#lifetime.assertOpen();
    const { clock } = this.#settings;
    const { lastAnswerAt, state } = this.#gate;
    const quiet = lastAnswerAt === undefined || clock.now() - lastAnswerAt > HEARD_OF_MS;
    if (state.state === 'up' && quiet) {
      try {
        await this.#look();
      } catch (error) {
        return { status: 'down', reasons: [isError(error) ? error.message : String(error)] };
      }
    }
    return health(this.#gauges(), this.#gate.state, clock.now());
  }

  /**
   * Ends everything: sends under way are given `stopTimeoutMs`, then every client is stopped and the storage closed.
   * Idempotent. From the first call on, every other call rejects with `MANAGER_CLOSED`. Every part is ended, whatever
   * another one fails with or does not end in; then rejects with that error, or with an AggregateError of several.
   */
  shutdown(): Promise<void> {
    this.#lifetime.beginShutdown();
    return (this.#shutdown ??= this.#end());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.shutdown();
  }

  [inspect.custom](): string {
    return `MatrixClientManager(${this.#settings.homeserverUrl})`;
  }

  async #end(): Promise<void> {
    const { clock, logger, stopTimeoutMs, storage } = this.#settings;
    const forClients = stopTimeoutMs + 60_000;
    await endInOrder(
      [
        { doing: 'finishing sends', run: () => this.#finishSends(), timeoutMs: stopTimeoutMs + 1_000 },
        { doing: 'ending calls', run: () => this.#lifetime.abortInFlight() },
        { doing: 'ending the look-out for the homeserver', run: () => this.#gate.close() },
        { doing: 'stopping the clients', run: () => this.#users.registry.close(), timeoutMs: forClients },
        { doing: 'ending logins and sends', run: () => this.#settled() },
        { doing: 'ending callbacks', run: () => this.#users.waitForDeferredStops() },
        { doing: 'closing connections', run: () => this.#users.connections.close() },
        { doing: 'ending the metrics', run: () => this.#unobserve() },
        { doing: 'forgetting callbacks', run: () => this.#callbacks.clear() },
        { doing: 'ending requests', run: nextEventLoopTurn }, // those just aborted let go of their timers
        { doing: 'closing the transport', run: () => this.#connections.close() },
        { doing: 'closing the keys', run: () => this.#encryption?.close() },
        { doing: 'closing the storage', run: () => storage.close() },
      ],
      { clock, logger },
    ).finally(() => this.#events.close());
  }

  /** Gives sends under way `stopTimeoutMs`; durable ones are left to the next process. */
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

  async #settled(): Promise<void> {
    await Promise.all([this.#accounts.settled(), this.#resumed, this.#sender.settled()]);
  }

  async #forget(userId: string, logOut: boolean): Promise<void> {
    const parts = { accounts: this.#accounts, callbacks: this.#callbacks, encryption: this.#encryption };
    const { logger } = this.#settings;
    await forgetUser({ ...parts, outbox: this.#outbox, users: this.#users, logger }, userId, logOut);
  }

  async #withIdentity<T>(
    userId: string,
    use: (encryption: UserEncryption) => Promise<T>,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    this.#lifetime.assertOpen();
    assertUserId(userId);
    const useIfThere = ({ encryption }: UserSession): Promise<T> => {
      if (encryption) return use(encryption);
      const message = `${userId} has no encryption here`;
      throw new MatrixClientManagerError('ENCRYPTION_UNAVAILABLE', message, { userId });
    };
    return this.#users.withLease(userId, useIfThere, signal);
  }

  /** Who reads: the user, or the admin. */
  async #reader(userId: string | undefined, signal: AbortSignal): Promise<CallerSession> {
    if (userId !== undefined) return this.#users.readerFor(userId, signal);
    if (this.#adminHttp) return { session: this.#adminHttp.session };
    throw new MatrixClientManagerError(
      'INVALID_OPTIONS',
      'expected `userId`, since the manager has no `admin` to read',
    );
  }

  #look(): Promise<unknown> {
    const { requestTimeoutMs } = this.#settings;
    return this.#looking.run('', () => readVersions(this.#http, requestTimeoutMs, this.#lifetime.signal));
  }

  /** Whether the homeserver has answered something since then, in milliseconds, other than the failure `error`. */
  async #answersOtherwise(since: number, error: unknown): Promise<boolean> {
    const { lastAnswerAt = -Infinity, state } = this.#gate;
    if (state.state === 'down') return false;
    // An answer that is not Matrix's may have come from a proxy, and would pass for one of the homeserver.
    if (lastAnswerAt >= since && !isManagerError(error, 'INVALID_RESPONSE')) return true;
    return this.#look().then(
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
