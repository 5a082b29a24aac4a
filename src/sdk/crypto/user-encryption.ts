import { MatrixEvent } from 'matrix-js-sdk';
import type { MatrixClient, Room } from 'matrix-js-sdk';
import { CryptoEvent } from 'matrix-js-sdk/lib/crypto-api/index.js';
import { abortedError, orAborted, orTimeout } from '../../core/abort.js';
import type { Context } from '../../core/context.js';
import { MatrixClientManagerError } from '../../core/errors.js';
import type { OpenDeviceOptions } from '../../core/ports/key-store.js';
import { RoomNotReceived } from '../../core/room-not-received.js';
import type { EventContent, RawEvent } from '../../core/raw-event.js';
import type { KeysWithheld } from '../../core/withheld-keys.js';
import { cryptoBackend, KEYS_UPLOAD } from './crypto-backend.js';
import type { EncryptedRooms } from '../../encryption/encrypted-rooms.js';
import type { CryptoStore } from '../../encryption/store/crypto-store.js';
import type { DeviceStore } from '../../encryption/store/device-store.js';
import { encryptionFailure } from '../../encryption/encryption-failure.js';
import { ReceivedMessages } from '../../encryption/received-messages.js';
import { WithheldDevices } from '../../encryption/withheld-devices.js';
import { DecryptionChecks } from './decryption-checks.js';
import { DeviceLists } from './device-lists.js';
import { EventDecryptor } from './event-decryptor.js';
import type { KeyWait } from './event-decryptor.js';
import { Identity } from './identity.js';
import type { AuthUploadDeviceSigningKeys, IdentitySettings } from '../../encryption/identity/identity-options.js';
import type { IdentityChange } from '../../encryption/identity/identity-change.js';
import { IdentityChanges } from './identity-changes.js';
import { maintainIdentity } from './identity-upkeep.js';
import { OlmSessionRecovery } from './olm-session-recovery.js';
import { deviceCheck, watchKeySharing } from './key-sharing.js';
import { QueuedKeys } from './queued-keys.js';
import { RoomEncryptors } from './room-encryptors.js';
import { RoomKeyMetrics } from './room-key-metrics.js';
import { SenderChecks } from './sender-checks.js';
import { assertKnownDevice, openCrypto } from './open-crypto.js';
import type { ClientCrypto } from './open-crypto.js';
import { skipEmptySyncChanges } from './sync-changes.js';
import type { RoomVerificationEvent } from './verification-messages.js';
import { VerificationRequests } from './verification-requests.js';
import type { VerificationRequestsOptions } from './verification-requests.js';
import type { EncryptedMessage, MessageEncryption } from '../../sending/room-sender.js';
import { UnreadableEvents } from '../../encryption/unreadable-events.js';

export interface UserEncryptionOptions
  extends OpenDeviceOptions, Pick<VerificationRequestsOptions, 'onRequest' | 'onRequested'> {
  readonly encryptedRooms: EncryptedRooms;
  readonly identity: IdentitySettings;
  readonly authenticate: AuthUploadDeviceSigningKeys;
  /** Called when devices in a room do not get the key of the user's messages. */
  readonly onKeysWithheld: (withheld: KeysWithheld) => void;
  readonly onIdentityChanged: (change: IdentityChange) => void;
}

/** A message to be encrypted. */
export interface ClearMessage {
  readonly roomId: string;
  readonly type: string;
  readonly content: EventContent;
  readonly signal?: AbortSignal | undefined;
}

/** How long encrypting waits for a room that the client has not received, in milliseconds. */
const ROOM_TIMEOUT_MS = 30_000;
/** How long a start waits for the device to be signed, in milliseconds. The application's callbacks may take longer. */
const SIGNING_TIMEOUT_MS = 10_000;

/**
 * End-to-end encryption of one user's client, from loading its keys until it is closed.
 *
 * This file is a little long because the order of opening, publishing, processing syncs and closing matters throughout.
 */
export class UserEncryption implements MessageEncryption {
  readonly userId: string;
  readonly #context: Context;
  readonly #options: UserEncryptionOptions;
  readonly #store: DeviceStore;
  readonly #ended = new AbortController();
  #matrixClient: MatrixClient | undefined;
  #crypto: ClientCrypto | undefined;
  #decryptor: EventDecryptor | undefined;
  #identity: Identity | undefined;
  #roomKeyMetrics: RoomKeyMetrics | undefined;
  #encryptors: RoomEncryptors | undefined;
  #verifications: VerificationRequests | undefined;
  /** Resolves after the first attempt to sign the device. An unsigned device may not be able to share its room keys. */
  #signingAttempted: Promise<void> = Promise.resolve();
  #failure: MatrixClientManagerError | undefined;
  #onFault: (error: MatrixClientManagerError) => void = () => {};
  #startUpkeep: () => void = () => {};
  readonly #unreadable: UnreadableEvents;
  /** Called after the SDK has processed a sync. */
  readonly #syncListeners = new Set<() => void>();
  readonly #deviceLists: DeviceLists;
  readonly #queuedKeys: QueuedKeys;
  #withheldDevices: WithheldDevices | undefined;

  private constructor(context: Context, store: DeviceStore, options: UserEncryptionOptions) {
    this.userId = options.userId;
    this.#context = context;
    this.#options = options;
    this.#store = store;
    this.#deviceLists = new DeviceLists(context.clock);
    this.#queuedKeys = new QueuedKeys(context.clock);
    this.#unreadable = new UnreadableEvents(options.userId, context.logger);
  }

  /** Loads the keys of a device. Rejects like {@link CryptoStore.openUser}. {@link close} releases the keys. */
  static async load(context: Context, keys: CryptoStore, options: UserEncryptionOptions): Promise<UserEncryption> {
    const { userId, deviceId, claim } = options;
    let encryption: UserEncryption | undefined;
    const store = await keys.openUser({
      userId,
      deviceId,
      ...(claim && { claim }),
      onFailure: (error) => {
        if (encryption) encryption.#fail(error);
      },
    });
    encryption = new UserEncryption(context, store, options);
    return encryption;
  }

  /** Whether the device had no keys when its store was opened, so that other devices cannot have sent it room keys. */
  get wasNew(): boolean {
    return this.#store.wasNew;
  }

  /** Set when the keys in memory differ from those on disk. No sync position may be stored after that. */
  get failure(): MatrixClientManagerError | undefined {
    return this.#failure;
  }

  /**
   * Opens encryption for the client, which must not be started yet. Rejects like {@link openCrypto}.
   * @param resumes - whether the client resumes from a sync position
   * @param onFault - called when the client has to be stopped and restarted
   */
  async open(
    matrixClient: MatrixClient,
    resumes: boolean,
    onFault: (error: MatrixClientManagerError) => void,
  ): Promise<void> {
    const { userId, identity, authenticate, encryptedRooms, onIdentityChanged } = this.#options;
    const { onKeysWithheld: onWithheld } = this.#options;
    const context = this.#context;
    const { signal: ended } = this.#ended;
    this.#onFault = onFault;
    const onCryptoFault = (error: MatrixClientManagerError): void => this.#fail(error);
    const opening = openCrypto(context, { matrixClient, store: this.#store, resumes, onFault: onCryptoFault });
    this.#crypto = await orAborted(opening, ended, 'opening encryption');
    this.#matrixClient = matrixClient;
    skipEmptySyncChanges(matrixClient, context.clock);
    const { run } = this.#crypto;
    const { onRequest, onRequested } = this.#options;
    this.#verifications = new VerificationRequests(context, { matrixClient, run, ended, onRequest, onRequested });
    const crypto = cryptoBackend(matrixClient);
    void new OlmSessionRecovery(context, { crypto, run, store: this.#store, ended });
    this.#encryptors = new RoomEncryptors(crypto, encryptedRooms);
    this.#roomKeyMetrics = new RoomKeyMetrics(matrixClient, context.diagnostics, ended);
    const { diagnostics } = context;
    const fetchedLists = (): number => this.#deviceLists.fetched;
    const withheld = new WithheldDevices({ store: this.#store, fetchedLists, exists: deviceCheck(crypto) });
    this.#withheldDevices = withheld;
    watchKeySharing(crypto, { userId, devices: withheld, diagnostics, onWithheld });
    const { promise, resolve } = Promise.withResolvers<void>();
    if (identity.crossSigning) this.#signingAttempted = promise;
    this.#identity = new Identity(context, {
      ...identity,
      matrixClient,
      run,
      device: this.#store,
      authenticate,
      onIdentityReady: resolve,
      onKeysCreated: (masterKey) => changes.noteCreated(masterKey),
    });
    const changes = new IdentityChanges(context, {
      crypto,
      run,
      identity: this.#identity,
      store: this.#store,
      userId: this.userId,
      ended,
      onChanged: onIdentityChanged,
    });
    await orAborted(changes.start(), ended, 'reading the identity of a user');
    const upkeep = { identity: this.#identity, matrixClient, signal: ended, onAttempt: resolve };
    this.#startUpkeep = () => void maintainIdentity(context.clock, upkeep);
    const checks = new DecryptionChecks(crypto, {
      senders: new SenderChecks(crypto, identity.trust, this.#store),
      received: new ReceivedMessages(this.#store),
      receive: identity.receive,
    });
    crypto.on(CryptoEvent.DevicesUpdated, (userIds) => this.#deviceLists.noteChange(userIds));
    crypto.on(CryptoEvent.UserTrustStatusChanged, (userId) => this.#deviceLists.noteChange([userId]));
    const { clock } = context;
    this.#decryptor = new EventDecryptor({
      matrixClient,
      clock,
      ended,
      checks,
      deviceLists: this.#deviceLists,
      queuedKeys: this.#queuedKeys,
    });
  }

  /**
   * Uploads the device's keys, begins the identity set-up, and waits for its first attempt, at most `SIGNING_TIMEOUT_MS`.
   * Other devices can send keys to the device then. Never rejects: an upload or a set-up that failed is repeated later.
   */
  async publishKeys(): Promise<void> {
    const { userId } = this;
    const { logger } = this.#context;
    const { olmMachine, outgoingRequestsManager } = this.#backend;
    const hasKeysToUpload = async (): Promise<boolean> => {
      if (this.#store.wasNew) return true; // the question itself signs 50 keys
      const requests = await olmMachine.outgoingRequests();
      return requests.some(({ type }) => type === KEYS_UPLOAD);
    };
    const upload = async (): Promise<void> => {
      if (await hasKeysToUpload()) await outgoingRequestsManager.doProcessOutgoingRequests();
    };
    await orAborted(upload(), this.#ended.signal, 'uploading keys').catch((error: unknown) => {
      if (!this.#ended.signal.aborted) logger.warn({ userId, err: error }, 'uploading keys failed; it is retried');
    });
    this.#startUpkeep();
    await this.#waitForSigning().catch(() => {}); // an unsigned device works too, and the set-up goes on
  }

  /** Resolves when the first attempt of the identity set-up has ended, and rejects after a time-out. Many users send keys to signed devices only. */
  async #waitForSigning(): Promise<void> {
    const { clock, limits } = this.#context;
    if (!this.#options.identity.crossSigning) return;
    const timeoutMs = Math.min(SIGNING_TIMEOUT_MS, limits.startTimeoutMs / 2);
    const signed = this.identity.isSigned().then((isSigned) => (isSigned ? undefined : this.#signingAttempted));
    await orAborted(
      orTimeout(signed, clock, timeoutMs, () => abortedError('signing a device')),
      this.#ended.signal,
      'signing a device',
    );
  }

  /** Like the function {@link assertKnownDevice}. */
  async assertKnownDevice(): Promise<void> {
    if (!this.#matrixClient) throw this.#notOpenError();
    const check = assertKnownDevice(this.#matrixClient, this.#store);
    await orAborted(check, this.#ended.signal, 'asking for the keys of a device');
  }

  /** Fetches all device lists again, after the client has lost its sync position and missed changes. */
  refetchDeviceLists(): void {
    const fetching = this.#backend
      .markAllTrackedUsersAsDirty()
      .then(() => this.#backend.outgoingRequestsManager.doProcessOutgoingRequests())
      .catch((error: unknown) => {
        this.#context.logger.warn({ userId: this.userId, err: error }, 'fetching device lists again failed');
      });
    this.#deviceLists.updateBy(fetching, 'all');
  }

  /** Removes the room's encryptor before the SDK receives a new room object: the encryptor keeps the old members. */
  dropRoomEncryptor(roomId: string): void {
    Reflect.deleteProperty(this.#backend.roomEncryptors, roomId);
  }

  /**
   * Call it after the SDK has processed a sync.
   * @param changed - the users whose device lists have changed
   * @param messages - the number of messages to the device
   */
  synced(changed: readonly string[], messages: number): void {
    this.#queuedKeys.synced(messages);
    // The SDK fetches changed lists later itself. It has no Olm session with a device that it finds during encryption.
    if (changed.length > 0) {
      this.#deviceLists.updateBy(this.#backend.outgoingRequestsManager.doProcessOutgoingRequests(), changed);
    }
    for (const look of this.#syncListeners) look();
    this.#verifications?.synced();
  }

  /**
   * Like {@link EventDecryptor.decrypt}, but an unexpected error marks the event `unreadable`. Rejects only on abort,
   * or with {@link failure} once the keys have failed.
   */
  async decrypt(roomId: string, raw: RawEvent, wait?: KeyWait): Promise<RawEvent> {
    if (!this.#decryptor) throw this.#notOpenError();
    let event: RawEvent;
    try {
      event = await this.#decryptor.decrypt(roomId, raw, wait);
    } catch (error) {
      if (this.#ended.signal.aborted || wait?.signal.aborted) throw error;
      event = this.#unreadable.mark(roomId, raw, error);
    }
    if (this.#failure) throw this.#failure; // this failure may be why the event could not be decrypted
    return event;
  }

  /** Whether the client has received the room. */
  hasRoom(roomId: string): boolean {
    return Boolean(this.#matrixClient?.getRoom(roomId));
  }

  /** Whether the crypto library has seen that the room is encrypted, also in an earlier run of the client. */
  async knowsEncryption(roomId: string): Promise<boolean> {
    return orAborted(
      this.#encryptorsOfClient.hasSettings(roomId),
      this.#ended.signal,
      'asking for the settings of a room',
    );
  }

  /**
   * Returns the content to send as `m.room.encrypted`, after sharing the room key with the devices in the room, and the
   * devices that did not get the key. Waits up to `ROOM_TIMEOUT_MS` until the client has the room. Rejects with `ENCRYPTION_FAILED` or the homeserver's error.
   */
  async encrypt({ roomId, type, content, signal }: ClearMessage): Promise<EncryptedMessage> {
    const ended = signal ? AbortSignal.any([signal, this.#ended.signal]) : this.#ended.signal;
    const { userId } = this;
    const operation = `encrypting for ${roomId}`;
    await orAborted(this.#signingAttempted, ended, operation);
    const room = await this.#waitForRoom(roomId, ended);
    const update = this.#deviceLists.updateOf();
    if (update) await orAborted(update.ended, ended, operation);
    const event = new MatrixEvent({ type, content, room_id: roomId, sender: userId });
    try {
      const problem = await orAborted(this.#encryptorsOfClient.open(room), ended, operation);
      if (problem !== undefined) throw new Error(problem);
      await orAborted(this.#backend.encryptEvent(event, room), ended, operation);
    } catch (error) {
      if (this.#failure) throw this.#failure;
      throw encryptionFailure(error, operation, { userId, roomId, code: 'ENCRYPTION_FAILED' }, '; nothing was sent');
    }
    const encrypted = event.getWireContent();
    return { content: encrypted, ...(await this.#withheldDevices?.of(roomId, encrypted.session_id)) };
  }

  /** Takes a decrypted event of a room that belongs to a verification. Call it for live events only. */
  receiveVerification(roomId: string, event: RoomVerificationEvent): void {
    this.#verifications?.receiveInRoom(roomId, event);
  }

  /** Tells the other sides of open verifications that the client stops. Takes two seconds at most, and never rejects. */
  async cancelVerifications(): Promise<void> {
    await this.#verifications?.cancelOpen();
  }

  /** Aborted just before the client is stopped: calls of the crypto library no longer settle after that. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  /** The user's cross-signing keys, secret storage and backup. Throws before {@link open} has resolved. */
  get identity(): Identity {
    if (!this.#identity) throw this.#notOpenError();
    return this.#identity;
  }

  /**
   * Await it after the client's requests were aborted and before `stopClient()`. Idempotent. Later calls of the crypto
   * library never settle.
   */
  async shutDown(): Promise<void> {
    this.#ended.abort(this.#failure);
    this.#roomKeyMetrics?.close();
    this.#verifications?.close();
    await this.#crypto?.shutDown();
  }

  /** Releases the keys. Resolves when the device may be opened again. Call it after the client was stopped. Idempotent. */
  async close(): Promise<void> {
    await this.#store.close();
  }

  get #backend(): ReturnType<typeof cryptoBackend> {
    if (!this.#matrixClient) throw this.#notOpenError();
    return cryptoBackend(this.#matrixClient);
  }

  get #encryptorsOfClient(): RoomEncryptors {
    if (!this.#encryptors) throw this.#notOpenError();
    return this.#encryptors;
  }

  /** Waits until the client has the room, such as after a join. */
  async #waitForRoom(roomId: string, signal: AbortSignal): Promise<Room> {
    const findRoom = (): Room | undefined => this.#matrixClient?.getRoom(roomId) ?? undefined;
    const known = findRoom();
    if (known) return known;
    const { userId } = this;
    const { clock } = this.#context;
    const { promise, resolve, reject } = Promise.withResolvers<Room>();
    const look = (): void => {
      const room = findRoom();
      if (room) resolve(room);
    };
    const timer = clock.setTimeout(() => {
      reject(new RoomNotReceived({ userId, roomId }, ROOM_TIMEOUT_MS));
    }, ROOM_TIMEOUT_MS);
    this.#syncListeners.add(look);
    return orAborted(promise, signal, `encrypting for ${roomId}`).finally(() => {
      clock.clearTimeout(timer);
      this.#syncListeners.delete(look);
    });
  }

  #fail(error: MatrixClientManagerError): void {
    this.#failure ??= error;
    this.#onFault(error);
  }

  #notOpenError(): MatrixClientManagerError {
    const message = `the encryption of ${this.userId} is not open`;
    return new MatrixClientManagerError('CLIENT_FAILED', message, { userId: this.userId });
  }
}
