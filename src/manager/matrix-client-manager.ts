import { inspect } from 'node:util';
import {
  getAccountDataSchema,
  getTagsSchema,
  removeTagSchema,
  setAccountDataSchema,
  setTagSchema,
} from '../account-data/account-data-options.js';
import type {
  GetAccountDataOptions,
  GetTagsOptions,
  RemoveTagOptions,
  SetAccountDataOptions,
  SetTagOptions,
} from '../account-data/account-data-options.js';
import { ignoreUsersSchema } from '../account-data/ignored-users.js';
import type { IgnoreUsersOptions } from '../account-data/ignored-users.js';
import type { CallbackOptions, ClientCallback, ManagerCallbackOptions } from '../callbacks/callback.js';
import { callSchema } from '../core/call-options.js';
import type { CallOptions } from '../core/call-options.js';
import type { Credentials } from '../core/credentials.js';
import { invalidOptions } from '../core/errors.js';
import { assertUserId } from '../core/ids.js';
import type { EventContent } from '../core/raw-event.js';
import { checkArgument, checkOptions, functionOf } from '../core/validation.js';
import type { Schema } from '../core/validation.js';
import type { SentMessage } from '../core/withheld-keys.js';
import type { EncryptionStatus, UserVerification } from '../encryption/encryption-status.js';
import { resetIdentitySchema } from '../encryption/identity/identity-options.js';
import type { ResetIdentityOptions } from '../encryption/identity/identity-options.js';
import { markReadSchema, sendReadReceiptSchema } from '../ephemeral/receipt-sender.js';
import type { MarkReadOptions, SendReadReceiptOptions } from '../ephemeral/receipt-sender.js';
import { sendTypingSchema } from '../ephemeral/typing-notifier.js';
import type { SendTypingOptions } from '../ephemeral/typing-notifier.js';
import type { DownloadedFile, SentFile } from '../files/attachments.js';
import { closingBodyOnFailure } from '../files/file-body.js';
import { downloadFileSchema, sendFileSchema, uploadFileSchema } from '../files/file-options.js';
import type { DownloadFileOptions, SendFileOptions, UploadFileOptions } from '../files/file-options.js';
import { getRoomMessagesSchema } from '../messages/get-room-messages-options.js';
import type { GetRoomMessagesOptions } from '../messages/get-room-messages-options.js';
import type { MessagePage } from '../messages/page-request.js';
import { searchMessagesSchema } from '../messages/search-messages.js';
import type { FoundMessages, SearchMessagesOptions } from '../messages/search-messages.js';
import { getPresence, setPresence } from '../profiles/presence.js';
import { getPresenceSchema, setPresenceSchema } from '../profiles/presence-options.js';
import type { GetPresenceOptions, Presence, SetPresenceOptions } from '../profiles/presence-options.js';
import { getProfileSchema, setAvatarSchema, setDisplayNameSchema } from '../profiles/profile-options.js';
import type {
  GetProfileOptions,
  Profile,
  SetAvatarOptions,
  SetDisplayNameOptions,
} from '../profiles/profile-options.js';
import type { AdminApi } from '../provisioning/admin-api.js';
import { credentialsSchema, openSessionSchema } from '../provisioning/open-session-options.js';
import type { OpenSessionOptions } from '../provisioning/open-session-options.js';
import { provisionUserSchema } from '../provisioning/provision-user-options.js';
import type { ProvisionedUser, ProvisionUserOptions } from '../provisioning/provision-user-options.js';
import type { Rooms } from '../rooms/rooms.js';
import type { UserEncryption } from '../sdk/crypto/user-encryption.js';
import type { MatrixClient } from '../sdk/matrix-client.js';
import { listSendsSchema } from '../sending/outbox.js';
import type { ListSendsOptions, OutboxEntry } from '../sending/outbox.js';
import { redactSchema } from '../sending/redact-options.js';
import type { RedactOptions } from '../sending/redact-options.js';
import { sendMessageSchema } from '../sending/send-message-options.js';
import type { SendMessageOptions } from '../sending/send-message-options.js';
import { sendReactionSchema } from '../sending/send-reaction-options.js';
import type { SendReactionOptions } from '../sending/send-reaction-options.js';
import { listRoomsSchema } from '../users/room-list-options.js';
import type { ListRoomsOptions, RoomSummaryPage } from '../users/room-list-options.js';
import { unreadUsers } from '../users/unread-totals.js';
import type { UnreadTotals } from '../users/unread-totals.js';
import type { ClientInfo } from '../users/client-state.js';
import { connectSchema } from '../users/connect-options.js';
import type { ConnectOptions } from '../users/connect-options.js';
import type { Connection } from '../users/connection.js';
import type { CallerSession } from '../users/user-calls.js';
import { startClientSchema } from '../users/start-client-options.js';
import type { StartClientOptions } from '../users/start-client-options.js';
import { sendApplicationRequest } from './application-request.js';
import { compose } from './compose.js';
import type { Parts } from './compose.js';
import type { DeadLetter } from './dead-letters.js';
import type { ManagerEvents } from './event-hub.js';
import { forgetUserSchema } from './forget-user.js';
import type { ForgetUserOptions } from './forget-user.js';
import { checkHealth } from './health.js';
import type { Health } from './health.js';
import type { ManagerStats } from './gauges.js';
import type { MatrixClientManagerOptions } from './options.js';
import { requestSchema } from './request-options.js';
import type { RequestOptions } from './request-options.js';
import { shutDown } from './shutdown.js';

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
  readonly #parts: Parts;
  #shutdown: Promise<void> | undefined;

  /**
   * Checks the options; throws `INVALID_OPTIONS`. Makes no request, unless `storage` contains messages that an earlier
   * process accepted with `durable: true` and did not send. The manager then sends these messages.
   */
  constructor(options: MatrixClientManagerOptions) {
    this.#parts = compose(options);
  }

  /**
   * Makes the user's account and a session, if they do not exist, and returns the session. Idempotent; stored
   * credentials that still work are returned unchanged, and concurrent calls for a user share one run. For the account
   * of the option `admin` the result is its own session, and only its display name is changed. Throws
   * `INVALID_USER_ID`, `USER_DEACTIVATED`, `FORBIDDEN` (not an admin), `UNSUPPORTED` (no Admin API), `RATE_LIMITED`.
   */
  async provisionUser(options: ProvisionUserOptions): Promise<ProvisionedUser> {
    const read = this.#read('provisionUser()', provisionUserSchema, options);
    const { accounts, diagnostics, lifecycle, profiles } = this.#parts;
    const provision = async (): Promise<ProvisionedUser> => {
      const user = await lifecycle.untilCallsAborted(accounts.provision(read), read.signal);
      if (read.displayName !== undefined) profiles.forget(user.userId);
      return user;
    };
    return diagnostics.trace('provision', {}, provision);
  }

  /**
   * Starts the user's client; resolves after its first sync. Waits for a start that is already in progress; resolves at
   * once if the client is running. Throws `CLIENT_NOT_STARTED` when no credentials are known.
   */
  async startClient(options: StartClientOptions): Promise<ClientInfo> {
    return this.#parts.users.start(this.#read('startClient()', startClientSchema, options));
  }

  /**
   * Keeps the user's client live, for instance while a WebSocket or SSE stream of the user is open. Until the
   * connection is closed, the client does not rest, is not stopped as idle or evicted, and is restarted after a
   * failure. A user may have several connections. With `maxClients` clients in use, waits until one is free. Rejects as
   * {@link startClient} does, and with `INVALID_OPTIONS` for bad options; no connection remains then.
   */
  async connect(options: ConnectOptions): Promise<Connection> {
    const read = this.#read('connect()', connectSchema, options);
    const { lifecycle, users } = this.#parts;
    return lifecycle.untilCallsAborted(users.connections.open(read));
  }

  /**
   * Stops the user's client. Resolves when it has ended, to whether there was one. The user's callbacks stay
   * registered.
   */
  async stopClient(userId: string): Promise<boolean> {
    return this.#partsFor(userId).users.stop(userId);
  }

  /** Whether the user has a client that is live, reconnecting or starting. */
  hasClient(userId: string): boolean {
    return this.#parts.users.registry.has(userId);
  }

  /**
   * State of the user's client; undefined if there is none. A failed client is listed until it is started or stopped.
   */
  clientInfo(userId: string): ClientInfo | undefined {
    return this.#parts.users.registry.info(userId);
  }

  listClients(): ClientInfo[] {
    return this.#parts.users.registry.list();
  }

  /**
   * Marks the user as active, which restarts the idle time-out of the client. Returns whether the user has a client.
   */
  touch(userId: string): boolean {
    return this.#partsFor(userId).users.registry.touch(userId);
  }

  /** The user's client, if it is live or reconnecting; does not start one. */
  getClient(userId: string): MatrixClient | undefined {
    return this.#parts.users.registry.get(userId)?.engine.sdkClientIfMade();
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
    const { calls } = this.#partsFor(userId);
    checkArgument('use', functionOf(), use);
    const { signal } = checkOptions('withClient()', callSchema, options);
    return calls.withLease(userId, async ({ engine }) => use(await engine.sdkClient()), signal);
  }

  /**
   * Registers a callback for the user's events; the client need not be running. The events of a room are delivered one
   * after the other. In one process, an event that the callback has handled is not delivered to it again. Returns a
   * function that removes this registration.
   */
  addCallback(userId: string, callback: ClientCallback, options?: CallbackOptions): () => void {
    return this.#partsFor(userId).callbacks.add(userId, callback, options);
  }

  /**
   * Registers a callback for the events of every user who has a client, now or later, or of those in `users`. It has the
   * guarantees of {@link addCallback}, for each user separately. It starts no client. Returns a function that removes
   * this registration. Register callbacks that must miss nothing after a restart with the option `callbacks`. Throws
   * `INVALID_OPTIONS`, `INVALID_USER_ID`.
   */
  onEvent(callback: ClientCallback, options?: ManagerCallbackOptions): () => void {
    const { callbacks, lifecycle } = this.#parts;
    lifecycle.assertOpen();
    return callbacks.addForUsers(callback, options);
  }

  /** Removes every registration of the callback for the user by {@link addCallback}. Returns whether there was one. */
  removeCallback(userId: string, callback: ClientCallback): boolean {
    return this.#parts.callbacks.remove(userId, callback);
  }

  /**
   * A page of the room's messages, newest first, from the client's memory and, for older messages, from the homeserver.
   * With `after` it reads forwards, oldest first; with `around` an event and its neighbours; with `threadId` a thread.
   * Pass `end` as `from`, with the other options, to get the next page; any process accepts it. `end` is absent on the last page, which
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
    const asked = typeof first === 'string' ? { roomId: first, limit, from, userId } : first;
    const read = this.#read('getRoomMessages()', getRoomMessagesSchema, asked);
    const { calls, pages } = this.#parts;
    return calls.readAs(read.userId, (reader, signal) => pages.read(reader, read, signal), read.signal);
  }

  /**
   * Searches the messages of the user's rooms with the search of the homeserver, newest first. Encrypted rooms cannot be
   * searched: one in `rooms` rejects with `ENCRYPTED_ROOM`; without `rooms` they are left out. Throws `FORBIDDEN` for a room
   * that the user has not joined, `INVALID_CURSOR`.
   */
  async searchMessages(options: SearchMessagesOptions): Promise<FoundMessages> {
    const read = this.#read('searchMessages()', searchMessagesSchema, options);
    const { calls, search } = this.#parts;
    return calls.readAs(read.userId, (reader, signal) => search.search(reader, read, signal), read.signal);
  }

  /**
   * Sends a message (text, HTML with its text, or any content) and resolves when the homeserver has accepted it.
   * Messages of one user to one room are sent in the order of the calls. Ends the user's typing notification in the
   * room. The result names the devices that cannot decrypt an encrypted message. Throws `INVALID_OPTIONS` (a content that no homeserver accepts), `FORBIDDEN`, `RATE_LIMITED`,
   * `ENCRYPTION_UNAVAILABLE`.
   */
  async sendMessage(options: SendMessageOptions): Promise<SentMessage> {
    return this.#parts.sending.send(this.#read('sendMessage()', sendMessageSchema, options));
  }

  /**
   * Reacts to an event, with an emoji or another short text. Ordered, durable and repeatable as {@link sendMessage}.
   * Reactions are never encrypted. A reaction that the user has already made resolves to the id of that one.
   */
  async sendReaction(options: SendReactionOptions): Promise<SentMessage> {
    return this.#parts.sending.send(this.#read('sendReaction()', sendReactionSchema, options));
  }

  /**
   * Removes the content of an event: of a message, or of a reaction to take it back. Ordered, durable and repeatable as
   * {@link sendMessage}; resolves to the id of the redaction. Throws `FORBIDDEN` for an event of another user, unless the
   * user's power level allows it.
   */
  async redact(options: RedactOptions): Promise<SentMessage> {
    return this.#parts.sending.send(this.#read('redact()', redactSchema, options));
  }

  /**
   * Encryption status of the user's device: cross-signing, secret storage, key backup, and their failures. Starts the
   * client if needed. Throws `ENCRYPTION_UNAVAILABLE` for a user without encryption.
   */
  async encryptionStatus(userId: string, options: CallOptions = {}): Promise<EncryptionStatus> {
    const { calls } = this.#partsFor(userId);
    const { signal } = checkOptions('encryptionStatus()', callSchema, options);
    return calls.withEncryption(userId, ({ identity }) => identity.status(), signal);
  }

  /**
   * What the user's client knows about the keys of another user, or of the user: whether there are cross-signing keys,
   * which keys and devices are signed, and whether the keys have changed. Starts the client if needed. Throws
   * `ENCRYPTION_UNAVAILABLE`.
   */
  async userVerification(userId: string, otherUserId: string, options: CallOptions = {}): Promise<UserVerification> {
    const { calls } = this.#partsFor(userId);
    assertUserId(otherUserId);
    const { signal } = checkOptions('userVerification()', callSchema, options);
    return calls.withEncryption(userId, ({ identity }) => identity.verificationOf(otherUserId), signal);
  }

  /**
   * Signs the other user's current cross-signing keys with the user's. The application must know by other means that
   * the keys are that user's. With `trust: 'verified'`, the other user's signed devices then receive room keys. Throws
   * `ENCRYPTION_UNAVAILABLE`, `NOT_FOUND` if the other user has no cross-signing keys, and `ENCRYPTION_SETUP_FAILED` if
   * the user's own private keys are not on this device.
   */
  async verifyUser(userId: string, otherUserId: string, options: CallOptions = {}): Promise<UserVerification> {
    const { calls } = this.#partsFor(userId);
    assertUserId(otherUserId);
    const { signal } = checkOptions('verifyUser()', callSchema, options);
    return calls.withEncryption(userId, ({ identity, ended }) => identity.verify(otherUserId, ended), signal);
  }

  /**
   * Replaces the user's cross-signing keys, secret storage and key backup, for instance after the recovery key was
   * lost. Other users see that the identity has changed; room keys in the old backup are lost. `authenticate` answers
   * the homeserver's user-interactive authentication, by default with a temporary password. Throws
   * `ENCRYPTION_UNAVAILABLE` and `ENCRYPTION_SETUP_FAILED`. If the application did not store the new recovery key,
   * nothing was replaced. If the homeserver refused the new keys, the old identity stays in use: see the guide.
   */
  async resetIdentity(userId: string, options: ResetIdentityOptions = {}): Promise<EncryptionStatus> {
    const { calls } = this.#partsFor(userId);
    const { authenticate, signal } = checkOptions('resetIdentity()', resetIdentitySchema, options);
    const reset = async ({ identity, ended }: UserEncryption): Promise<EncryptionStatus> => {
      await identity.reset(ended, authenticate);
      return identity.status();
    };
    return calls.withEncryption(userId, reset, signal);
  }

  /**
   * Uploads a file and sends a message with it; in an encrypted room the file is encrypted. A stream with a `size` is
   * uploaded in constant memory. Throws as {@link sendMessage} does, and `FILE_TOO_LARGE` before the upload starts.
   * After a failure the stream is closed.
   */
  async sendFile(options: SendFileOptions): Promise<SentFile> {
    return closingBodyOnFailure(options, async () => {
      const read = this.#read('sendFile()', sendFileSchema, options);
      const { calls, files } = this.#parts;
      return calls.runAs(read.userId, (caller, signal) => files.send(caller, read, signal), read.signal);
    });
  }

  /**
   * Downloads the file of a message, and decrypts an encrypted one. Resolves when the response has started; read the
   * bytes with `stream` or `buffer()`. The call, `stream` and `buffer()` throw `FILE_TOO_LARGE`, `FILE_DAMAGED`,
   * `NOT_FOUND`.
   */
  async downloadFile(options: DownloadFileOptions): Promise<DownloadedFile> {
    const read = this.#read('downloadFile()', downloadFileSchema, options);
    const { calls, files } = this.#parts;
    return calls.readAs(read.userId, ({ session }, signal) => files.download(session, read, signal), read.signal);
  }

  /**
   * Messages sent with `durable: true`: those in `state`, which is queued, failed, or recently sent. Oldest first;
   * failed and sent ones in the order in which they failed or were sent.
   */
  async listSends(options: ListSendsOptions = {}): Promise<OutboxEntry[]> {
    const { userId, state = 'queued' } = this.#read('listSends()', listSendsSchema, options);
    return this.#parts.outbox.list(userId, state);
  }

  /**
   * Deletes a message sent with `durable: true`; resolves to whether there was one. If it is being sent, the send is
   * aborted, so that the room's next message is sent; the homeserver may still receive the aborted one.
   */
  async discardSend(userId: string, txnId: string): Promise<boolean> {
    return this.#partsFor(userId).outbox.discard(userId, txnId);
  }

  /** Starts or ends the user's typing notification in the room. Makes no request if that would not change the state. */
  async sendTyping(options: SendTypingOptions): Promise<void> {
    const read = this.#read('sendTyping()', sendTypingSchema, options);
    const { calls, typing } = this.#parts;
    await calls.runAs(read.userId, ({ session }, signal) => typing.set(session, read, signal), read.signal);
  }

  /** Sends a read receipt for the event, public or private. Read receipts never move backwards. */
  async sendReadReceipt(options: SendReadReceiptOptions): Promise<void> {
    const read = this.#read('sendReadReceipt()', sendReadReceiptSchema, options);
    const { calls, receipts } = this.#parts;
    await calls.runAs(read.userId, (caller, signal) => receipts.send(caller, read, signal), read.signal);
  }

  /**
   * Marks the room as read up to the event: sends a read receipt, and with `fully` moves the fully read marker too. Neither
   * moves backwards. Starts no client, unlike {@link sendReadReceipt} for a user with callbacks.
   */
  async markRead(options: MarkReadOptions): Promise<void> {
    const read = this.#read('markRead()', markReadSchema, options);
    const { calls, receipts } = this.#parts;
    const mark = async (caller: CallerSession, signal: AbortSignal): Promise<void> => {
      await receipts.markRead(caller, read, signal);
      caller.userSession?.noteRead(read.roomId, read.eventId);
    };
    await calls.readAs(read.userId, mark, read.signal);
  }

  /**
   * A page of the user's rooms, newest activity first, with names, last messages and unread counts: from the user's client
   * if it has all of that in memory, otherwise from the homeserver. Starts no client. A room that moves to the top between
   * two pages is not on the later ones. A page without `next` is the last, whatever its length. Throws `INVALID_CURSOR`, `CLIENT_NOT_STARTED` (unknown user), and `TIMEOUT` after
   * `startTimeoutMs`.
   */
  async listRooms(userId: string, options: ListRoomsOptions = {}): Promise<RoomSummaryPage> {
    const { calls, roomList } = this.#partsFor(userId);
    const read = checkOptions('listRooms()', listRoomsSchema, options);
    return calls.readAs(userId, (caller, signal) => roomList.read(caller, read, signal), read.signal);
  }

  /**
   * How much each of the users has not read, over all joined rooms: from the user's client if it is live, otherwise with one
   * request. Starts no client. A failure is told in the result of its user, and rejects nothing; so is `TIMEOUT` after
   * 60 seconds.
   */
  async unreadCounts(userIds: readonly string[], options: CallOptions = {}): Promise<Map<string, UnreadTotals>> {
    const { lifecycle, unread } = this.#parts;
    lifecycle.assertOpen();
    const users = checkArgument('userIds', unreadUsers, userIds);
    const { signal } = checkOptions('unreadCounts()', callSchema, options);
    return unread.totals(users, signal);
  }

  /**
   * Makes any other request to the homeserver, with the session of a user or of the admin. Resolves to the JSON of the
   * response. Starts no client, and encrypts nothing: send messages with {@link sendMessage}. A POST is not repeated once
   * the homeserver may have carried it out. Throws `INVALID_OPTIONS`, `FORBIDDEN`, `NOT_FOUND`, `CLIENT_NOT_STARTED`
   * (unknown user).
   *
   * @example
   * const path = '/_matrix/client/v3/rooms/{roomId}/aliases';
   * const answer = await manager.request({ userId, method: 'GET', path, pathParams: { roomId } });
   */
  async request(options: RequestOptions): Promise<unknown> {
    return sendApplicationRequest(this.#parts, this.#read('request()', requestSchema, options));
  }

  /**
   * The display name and avatar of a user, as `userId` may see them. Kept in memory for `maxAgeMs`; a change by this
   * manager's own calls is seen at once, one by `request()` is not. Throws `NOT_FOUND` if there is no such user, or neither name nor avatar.
   */
  async getProfile(options: GetProfileOptions): Promise<Profile> {
    const read = this.#read('getProfile()', getProfileSchema, options);
    const { calls, profiles } = this.#parts;
    return calls.readAs(read.userId, ({ session }, signal) => profiles.get(session, read, signal), read.signal);
  }

  /** Sets the user's display name, as the user; the homeserver tells it to the user's rooms. Starts no client. */
  async setDisplayName(options: SetDisplayNameOptions): Promise<void> {
    const read = this.#read('setDisplayName()', setDisplayNameSchema, options);
    const { calls, profiles } = this.#parts;
    await calls.readAs(
      read.userId,
      ({ session }, signal) => profiles.setDisplayName(session, read, signal),
      read.signal,
    );
  }

  /** Sets or removes the user's avatar, as the user; the homeserver tells it to the user's rooms. Starts no client. */
  async setAvatar(options: SetAvatarOptions): Promise<void> {
    const read = this.#read('setAvatar()', setAvatarSchema, options);
    const { calls, profiles } = this.#parts;
    await calls.readAs(read.userId, ({ session }, signal) => profiles.setAvatar(session, read, signal), read.signal);
  }

  /**
   * Uploads a file that belongs to no message, such as an avatar, and resolves to its `mxc://` URI. It is not encrypted.
   * Throws `FILE_TOO_LARGE` before the upload starts. After a failure the stream is closed.
   */
  async uploadFile(options: UploadFileOptions): Promise<{ contentUri: string }> {
    return closingBodyOnFailure(options, async () => {
      const read = this.#read('uploadFile()', uploadFileSchema, options);
      const { calls, files } = this.#parts;
      return calls.readAs(read.userId, ({ session }, signal) => files.upload(session, read.file, signal), read.signal);
    });
  }

  /** Tells other users whether the user is there. If the homeserver's presence is off, it may accept this and do nothing. */
  async setPresence(options: SetPresenceOptions): Promise<void> {
    const read = this.#read('setPresence()', setPresenceSchema, options);
    const { calls, http } = this.#parts;
    await calls.readAs(read.userId, ({ session }, signal) => setPresence(http, session, read, signal), read.signal);
  }

  /** Whether a user is there. Throws `FORBIDDEN` if `userId` may not see it. */
  async getPresence(options: GetPresenceOptions): Promise<Presence> {
    const read = this.#read('getPresence()', getPresenceSchema, options);
    const { calls, http } = this.#parts;
    return calls.readAs(read.userId, ({ session }, signal) => getPresence(http, session, read, signal), read.signal);
  }

  /** The content of the user's account data of this type, global or of a room. Throws `NOT_FOUND` if there is none. */
  async getAccountData(options: GetAccountDataOptions): Promise<EventContent> {
    const read = this.#read('getAccountData()', getAccountDataSchema, options);
    const { accountData, calls } = this.#parts;
    return calls.readAs(read.userId, ({ session }, signal) => accountData.get(session, read, signal), read.signal);
  }

  /** Replaces the content of the user's account data of this type, global or of a room. */
  async setAccountData(options: SetAccountDataOptions): Promise<void> {
    const read = this.#read('setAccountData()', setAccountDataSchema, options);
    const { accountData, calls } = this.#parts;
    await calls.readAs(read.userId, ({ session }, signal) => accountData.set(session, read, signal), read.signal);
  }

  /** The user's tags of the room, with the order of each that has one. */
  async getTags(options: GetTagsOptions): Promise<Map<string, number | undefined>> {
    const read = this.#read('getTags()', getTagsSchema, options);
    const { accountData, calls } = this.#parts;
    return calls.readAs(
      read.userId,
      ({ session }, signal) => accountData.tags(session, read.roomId, signal),
      read.signal,
    );
  }

  /** Adds a tag to the room, for the user alone, or changes its order. */
  async setTag(options: SetTagOptions): Promise<void> {
    const read = this.#read('setTag()', setTagSchema, options);
    const { accountData, calls } = this.#parts;
    await calls.readAs(read.userId, ({ session }, signal) => accountData.setTag(session, read, signal), read.signal);
  }

  /** Removes a tag from the room; resolves also if the room does not have it. */
  async removeTag(options: RemoveTagOptions): Promise<void> {
    const read = this.#read('removeTag()', removeTagSchema, options);
    const { accountData, calls } = this.#parts;
    await calls.readAs(read.userId, ({ session }, signal) => accountData.removeTag(session, read, signal), read.signal);
  }

  /**
   * Changes which users the user ignores; resolves to all who are ignored then. The homeserver no longer sends the user
   * their messages and invites. With neither `ignore` nor `unignore`, only reads the list.
   */
  async ignoreUsers(options: IgnoreUsersOptions): Promise<string[]> {
    const read = this.#read('ignoreUsers()', ignoreUsersSchema, options);
    const { calls, ignoredUsers } = this.#parts;
    return calls.readAs(
      read.userId,
      ({ session, userSession }, signal) =>
        ignoredUsers.change(session, read, { ...(userSession && { timelines: userSession.timelines }), signal }),
      read.signal,
    );
  }

  /**
   * Logs the user in on a new device, for a front end that speaks Matrix itself. The session is never that of the managed
   * device. The manager neither stores nor renews it: keep it, and end it with {@link closeSession}. Throws
   * `CLIENT_NOT_STARTED` for a user without credentials, `UNSUPPORTED` without a provisioner that logs users in.
   */
  async openSession(options: OpenSessionOptions): Promise<Credentials> {
    const read = this.#read('openSession()', openSessionSchema, options);
    const { accounts, lifecycle } = this.#parts;
    return lifecycle.run((signal) => accounts.openSession({ ...read, signal }), read.signal);
  }

  /**
   * Logs a session of {@link openSession} out and removes its device; resolves also if it has already ended. Throws
   * `INVALID_OPTIONS` for the session that the manager uses itself.
   */
  async closeSession(credentials: Credentials, options: CallOptions = {}): Promise<void> {
    const read = this.#read('closeSession()', credentialsSchema, credentials);
    const { signal: callerSignal } = checkOptions('closeSession()', callSchema, options);
    const { accounts, lifecycle } = this.#parts;
    await lifecycle.run((signal) => accounts.closeSession(read, signal), callerSignal);
  }

  /** Events for which a callback failed `callbackAttempts` times, oldest first; at most 1,000. */
  async deadLetters(userId: string): Promise<DeadLetter[]> {
    return this.#partsFor(userId).deadLetters.list(userId);
  }

  /**
   * Calls the callbacks that failed for the event once more; in another process than the original one, all callbacks.
   * Resolves to true after success, and deletes the dead letter; to false if a callback failed or the id is unknown.
   */
  async retryDeadLetter(userId: string, id: string): Promise<boolean> {
    return this.#partsFor(userId).deadLetters.retry(userId, id);
  }

  /**
   * Re-encrypts the keys of all devices with a new secret, in one transaction; clients keep running. Afterwards the
   * file of `encryption` opens with the new secret only. Throws `INVALID_OPTIONS`, or `STORAGE` if the file cannot be
   * used.
   */
  async rotateEncryptionSecret(secret: string | Uint8Array): Promise<void> {
    const { encryption, lifecycle } = this.#parts;
    lifecycle.assertOpen();
    if (encryption) return lifecycle.untilCallsAborted(encryption.rotateSecret(secret));
    throw invalidOptions('rotateEncryptionSecret() needs the option `encryption`');
  }

  /**
   * Stops the user's client and deletes everything that the library has stored about the user: session, callbacks,
   * keys, position, dead letters and queued sends. Calls `credentials.delete`. The account itself is unchanged; after
   * another `provisionUser` the user has a new device. A failed step does not prevent the others; repeat the call after
   * a failure. The dead letters include those of callbacks with `once`, which no other user has.
   */
  async forgetUser(userId: string, options: ForgetUserOptions = {}): Promise<void> {
    const { forgetUser, lifecycle } = this.#partsFor(userId);
    const { logOut = true } = checkOptions('forgetUser()', forgetUserSchema, options);
    await lifecycle.untilCallsAborted(forgetUser(userId, logOut));
  }

  /** The user id of the option `admin`, for calls that take a `userId`; undefined without that option. */
  get adminUserId(): string | undefined {
    return this.#parts.settings.admin?.userId;
  }

  /** Admin API calls other than provisioning. Throws `INVALID_OPTIONS` when the manager has no `admin`. */
  get admin(): AdminApi {
    const { adminApi, lifecycle } = this.#parts;
    lifecycle.assertOpen();
    if (adminApi) return adminApi;
    throw invalidOptions('manager.admin needs the option `admin`');
  }

  /** Rooms and their members: plain requests as a user or as the admin, without a client. */
  get rooms(): Rooms {
    const { rooms, lifecycle } = this.#parts;
    lifecycle.assertOpen();
    return rooms;
  }

  /**
   * Calls `listener` for each event of this name. Its errors are logged. Returns a function that removes the listener.
   */
  on<Name extends keyof ManagerEvents>(name: Name, listener: ManagerEvents[Name]): () => void {
    return this.#parts.events.on(name, listener);
  }

  off<Name extends keyof ManagerEvents>(name: Name, listener: ManagerEvents[Name]): void {
    this.#parts.events.off(name, listener);
  }

  /** Current gauges, and counts since the manager was made: the same numbers that OpenTelemetry exports. */
  stats(): ManagerStats {
    return { ...this.#parts.telemetry.stats(), ...this.#parts.gauges() };
  }

  /**
   * Whether the homeserver answers and the clients are connected. Makes a request only if the homeserver has answered
   * no other one recently. Rejects only with `MANAGER_CLOSED`.
   */
  async checkHealth(): Promise<Health> {
    this.#parts.lifecycle.assertOpen();
    return checkHealth(this.#parts);
  }

  /**
   * Waits up to `stopTimeoutMs` for sends in progress, then stops every client and closes the storage. Idempotent.
   * After the first call, every other method rejects with `MANAGER_CLOSED`. A step that fails or times out does not
   * prevent the later ones. After the last step, rejects with the failure, or with an AggregateError of several.
   */
  shutdown(): Promise<void> {
    this.#parts.lifecycle.beginShutdown();
    return (this.#shutdown ??= shutDown(this.#parts));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.shutdown();
  }

  [inspect.custom](): string {
    return `MatrixClientManager(${this.#parts.settings.homeserverUrl})`;
  }

  /** Checks that the manager is open, then reads the options of the call. */
  #read<T>(call: string, schema: Schema<T>, options: unknown): T {
    this.#parts.lifecycle.assertOpen();
    return checkOptions(call, schema, options);
  }

  /** Checks that the manager is open, then the user id. Returns the parts for a call about the user. */
  #partsFor(userId: string): Parts {
    this.#parts.lifecycle.assertOpen();
    assertUserId(userId);
    return this.#parts;
  }
}
