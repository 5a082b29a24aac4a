import { MatrixEvent } from 'matrix-js-sdk';
import type { MatrixClient, Room } from 'matrix-js-sdk';
import { orAborted, orTimeout } from '../../core/abort.js';
import type { Clock } from '../../core/clock.js';
import { MatrixClientManagerError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { EventContent, RawEvent } from '../../core/raw-event.js';
import type { Telemetry } from '../../core/telemetry.js';
import { cryptoBackend, KEYS_UPLOAD } from './crypto-backend.js';
import type { CryptoStore } from '../../encryption/store/crypto-store.js';
import type { DeviceId } from '../../encryption/store/device-keys.js';
import type { DeviceStore } from '../../encryption/store/device-store.js';
import { encryptionFailure } from '../../encryption/encryption-failure.js';
import { EventDecryptor } from './event-decryptor.js';
import type { KeyWait } from './event-decryptor.js';
import { Identity } from './identity.js';
import type { AuthUploadDeviceSigningKeys, IdentitySettings } from '../../encryption/identity/identity-options.js';
import { keepUp } from './identity-upkeep.js';
import { KeyWatch } from './key-watch.js';
import { assertKnownDevice, openCrypto } from './open-crypto.js';
import type { ClientCrypto } from './open-crypto.js';
import { skipEmptySyncChanges } from './sync-changes.js';
import { UnreadableEvents } from '../../encryption/unreadable-events.js';

export interface UserEncryptionOptions extends DeviceId {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly telemetry: Telemetry;
  /** Time for opening, in milliseconds. */
  readonly startTimeoutMs: number;
  readonly identity: IdentitySettings;
  readonly authenticate: AuthUploadDeviceSigningKeys;
}

/** A message to be encrypted. */
export interface ClearMessage {
  readonly roomId: string;
  readonly type: string;
  readonly content: EventContent;
  readonly signal?: AbortSignal | undefined;
}

/** Never encrypted: the homeserver has to understand them. */
const clearTypes: ReadonlySet<string> = new Set(['m.reaction', 'm.room.redaction']);
/** How long a start waits for the device to be signed, in milliseconds; the application may take longer. */
const SIGNING_TIMEOUT_MS = 10_000;

/** End-to-end encryption of one user's client, from the opening of its keys to their closing. */
export class UserEncryption {
  readonly #options: UserEncryptionOptions;
  readonly #ended = new AbortController();
  #store: DeviceStore | undefined;
  #matrixClient: MatrixClient | undefined;
  #crypto: ClientCrypto | undefined;
  #decryptor: EventDecryptor | undefined;
  #identity: Identity | undefined;
  #keyWatch: KeyWatch | undefined;
  /** Resolves when the device is signed, or cannot be: before, its trust policy may let it send to nobody. */
  #settled: Promise<void> = Promise.resolve();
  #failure: MatrixClientManagerError | undefined;
  #onFault: (error: MatrixClientManagerError) => void = () => {};
  #setUp: () => void = () => {};
  readonly #unreadable: UnreadableEvents;
  /** Called when the SDK has taken in a sync. */
  readonly #afterSync = new Set<() => void>();
  /** Resolves when the devices that were told of so far are known. */
  #deviceLists: Promise<unknown> = Promise.resolve();

  private constructor(options: UserEncryptionOptions) {
    this.#options = options;
    this.#unreadable = new UnreadableEvents(options.userId, options.logger);
  }

  /** Loads the keys of a device; rejects as {@link CryptoStore.openUser} does. {@link close} lets go of them. */
  static async load(cryptoStore: CryptoStore, options: UserEncryptionOptions): Promise<UserEncryption> {
    const { userId, deviceId } = options;
    const encryption = new UserEncryption(options);
    encryption.#store = await cryptoStore.openUser({
      userId,
      deviceId,
      newDevice: true, // openCrypto() asks the homeserver whether it knows other keys
      onFailure: (error) => encryption.#fail(error),
    });
    return encryption;
  }

  /** Whether the device has no keys yet, so that nobody has sent it any. */
  get isNew(): boolean {
    return this.#store?.isNew ?? false;
  }

  /** Why the keys in memory are not those on the disk any more: no sync position may be stored from then on. */
  get failure(): MatrixClientManagerError | undefined {
    return this.#failure;
  }

  /**
   * Gives the client, which is not started yet, its encryption. Rejects as {@link openCrypto} does.
   * @param onFault - called once when the client has to be stopped and started afresh
   */
  async open(
    matrixClient: MatrixClient,
    resumes: boolean,
    onFault: (error: MatrixClientManagerError) => void,
  ): Promise<void> {
    const { clock, logger, telemetry, startTimeoutMs } = this.#options;
    this.#onFault = onFault;
    const opening = openCrypto({
      matrixClient,
      store: this.#store as DeviceStore,
      resumes,
      clock,
      logger,
      startTimeoutMs,
      onFault: (error) => this.#fail(error),
    });
    this.#crypto = await orAborted(opening, this.#ended.signal, 'opening encryption');
    this.#matrixClient = matrixClient;
    skipEmptySyncChanges(matrixClient, clock);
    this.#keyWatch = new KeyWatch(matrixClient, telemetry, this.#ended.signal);
    const { promise, resolve } = Promise.withResolvers<void>();
    const { identity, authenticate } = this.#options;
    if (identity.crossSigning) this.#settled = promise;
    const device = this.#store as DeviceStore;
    const parts = { matrixClient, clock, logger, device, authenticate };
    this.#identity = new Identity({ ...identity, ...parts, onIdentityReady: resolve });
    const { signal } = this.#ended;
    const upkeep = { identity: this.#identity, matrixClient, clock, signal, onAttempt: resolve };
    this.#setUp = () => void keepUp(upkeep);
    this.#decryptor = new EventDecryptor(matrixClient, clock, this.#ended.signal);
  }

  /** Resolves when others can send the device keys: before, what they send cannot be read. Never rejects. */
  async ready(): Promise<void> {
    const { userId, logger } = this.#options;
    const { olmMachine, outgoingRequestsManager } = this.#backend;
    const upload = async (): Promise<void> => {
      const requests = await olmMachine.outgoingRequests();
      if (requests.some(({ type }) => type === KEYS_UPLOAD)) await outgoingRequestsManager.doProcessOutgoingRequests();
    };
    await orAborted(upload(), this.#ended.signal, 'uploading keys').catch((error: unknown) => {
      if (!this.#ended.signal.aborted) logger.warn({ userId, err: error }, 'uploading keys failed, trying again');
    });
    this.#setUp();
    await this.#signed().catch(() => {}); // it works without, and its set-up goes on
  }

  /** Resolves when the device is signed, or the set-up is through with it: many send keys to signed devices only. */
  async #signed(): Promise<void> {
    const { identity, clock, startTimeoutMs, userId } = this.#options;
    if (!identity.crossSigning) return;
    const late = (): MatrixClientManagerError =>
      new MatrixClientManagerError('TIMEOUT', `signing the device of ${userId} takes long`, { userId });
    const timeoutMs = Math.min(SIGNING_TIMEOUT_MS, startTimeoutMs / 2);
    const signed = this.identity.isSigned().then((isSigned) => (isSigned ? undefined : this.#settled));
    await orAborted(orTimeout(signed, clock, timeoutMs, late), this.#ended.signal, 'signing a device');
  }

  /** As {@link assertKnownDevice}. */
  async assertKnownDevice(): Promise<void> {
    if (!this.#matrixClient) throw this.#notOpen();
    const asked = assertKnownDevice(this.#matrixClient, this.#store as DeviceStore);
    await orAborted(asked, this.#ended.signal, 'asking for the keys of a device');
  }

  /** The client has lost its sync position, and with it which devices have changed. */
  forgetDeviceLists(): void {
    this.#deviceLists = this.#backend
      .markAllTrackedUsersAsDirty()
      .then(() => this.#backend.outgoingRequestsManager.doProcessOutgoingRequests())
      .catch((error: unknown) => {
        this.#options.logger.warn({ userId: this.#options.userId, err: error }, 'forgetting device lists failed');
      });
  }

  /** The SDK gets the room anew, and encrypts for who is in that one then. */
  forgetRoom(roomId: string): void {
    Reflect.deleteProperty(this.#backend.roomEncryptors, roomId);
  }

  /** The SDK has taken in a sync. @param devicesChanged - whether somebody has got another device with it */
  synced(devicesChanged: boolean): void {
    // The SDK looks them up as well, but to a device that it learns of while it encrypts it has no session.
    if (devicesChanged) {
      this.#deviceLists = this.#backend.outgoingRequestsManager.doProcessOutgoingRequests().catch(() => {});
    }
    for (const look of this.#afterSync) look();
  }

  /**
   * As {@link EventDecryptor.decrypt}. What fails unexpectedly costs its own event, which comes as an `unreadable` one.
   * Rejects only when a signal fires, and with {@link failure} once there is one.
   */
  async decrypt(roomId: string, raw: RawEvent, wait?: KeyWait): Promise<RawEvent> {
    if (!this.#decryptor) throw this.#notOpen();
    let event: RawEvent;
    try {
      event = await this.#decryptor.decrypt(roomId, raw, wait);
    } catch (error) {
      if (this.#ended.signal.aborted || wait?.signal.aborted) throw error;
      event = this.#unreadable.mark(roomId, raw, error);
    }
    if (this.#failure) throw this.#failure; // it may be why the event could not be read
    return event;
  }

  /** Whether events of this type are encrypted in an encrypted room. */
  encrypts(type: string): boolean {
    return !clearTypes.has(type);
  }

  /**
   * The content to send as `m.room.encrypted`, readable for all devices in the room by the time it resolves. Waits
   * until the client has the room. Rejects with `ENCRYPTION_FAILED`, or what the homeserver fails with.
   */
  async encrypt({ roomId, type, content, signal }: ClearMessage): Promise<EventContent> {
    const ended = signal ? AbortSignal.any([signal, this.#ended.signal]) : this.#ended.signal;
    const { userId } = this.#options;
    await orAborted(this.#settled, ended, `encrypting for ${roomId}`);
    const room = await this.#room(roomId, ended);
    await orAborted(this.#deviceLists, ended, `encrypting for ${roomId}`);
    const event = new MatrixEvent({ type, content, room_id: roomId, sender: userId });
    try {
      await orAborted(this.#backend.encryptEvent(event, room), ended, `encrypting for ${roomId}`);
    } catch (error) {
      if (this.#failure) throw this.#failure;
      throw encryptionFailure(error, { userId, roomId });
    }
    return event.getWireContent();
  }

  /** Fires when the client is about to be stopped: what runs on its keys does not settle any more. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  /** How the user's keys stand; see {@link Identity}. */
  get identity(): Identity {
    if (!this.#identity) throw this.#notOpen();
    return this.#identity;
  }

  /** To be awaited after the client's requests were aborted and before `stopClient()`. Idempotent. */
  async settle(): Promise<void> {
    this.#ended.abort();
    this.#keyWatch?.close();
    await this.#crypto?.settle();
  }

  /** Lets go of the keys, after the client was stopped. Idempotent. */
  close(): void {
    this.#store?.close();
  }

  get #backend(): ReturnType<typeof cryptoBackend> {
    if (!this.#matrixClient) throw this.#notOpen();
    return cryptoBackend(this.#matrixClient);
  }

  /** The room, once the SDK can encrypt for it. */
  async #room(roomId: string, signal: AbortSignal): Promise<Room> {
    const find = (): Room | undefined =>
      this.#backend.roomEncryptors[roomId] ? (this.#matrixClient?.getRoom(roomId) ?? undefined) : undefined;
    const known = find();
    if (known) return known;
    const { clock, startTimeoutMs, userId } = this.#options;
    const { promise, resolve, reject } = Promise.withResolvers<Room>();
    const look = (): void => {
      const room = find();
      if (room) resolve(room);
    };
    const timer = clock.setTimeout(() => {
      const message =
        `encrypting for ${roomId} failed: the client has not got the room within ${startTimeoutMs} ms, ` +
        'or the room asks for an unknown kind of encryption; nothing was sent';
      reject(new MatrixClientManagerError('ENCRYPTION_FAILED', message, { userId, roomId }));
    }, startTimeoutMs);
    this.#afterSync.add(look);
    return orAborted(promise, signal, `encrypting for ${roomId}`).finally(() => {
      clock.clearTimeout(timer);
      this.#afterSync.delete(look);
    });
  }

  #fail(error: MatrixClientManagerError): void {
    this.#failure ??= error;
    this.#onFault(error);
  }

  #notOpen(): MatrixClientManagerError {
    const { userId } = this.#options;
    return new MatrixClientManagerError('CLIENT_FAILED', `the encryption of ${userId} is not open`, { userId });
  }
}
