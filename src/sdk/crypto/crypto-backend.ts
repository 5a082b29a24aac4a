import type { MatrixClient, MatrixEvent, Room } from 'matrix-js-sdk';
import type { CryptoEvent } from 'matrix-js-sdk/lib/crypto-api/index.js';

/**
 * The private members of matrix-js-sdk's RustCrypto that this library uses.
 *
 * This file is a little long because it lists all of them, so that a new version of the SDK is compared with one file.
 */
export interface CryptoBackend {
  readonly olmMachine: OlmMachine;
  readonly backupManager: BackupManager;
  readonly perSessionBackupDownloader: { queryKeyBackup(...key: unknown[]): Promise<unknown> };
  readonly roomEncryptors: Readonly<Record<string, { encryptionSettings?: unknown } | undefined>>;
  readonly outgoingRequestsManager: { doProcessOutgoingRequests(): Promise<void> };
  readonly outgoingRequestProcessor: {
    rawJsonRequest(...request: unknown[]): Promise<string>;
    makeOutgoingRequest(request: OutgoingRequest, ...more: unknown[]): Promise<unknown>;
    requestWithRetry(method: string, path: string, query: object, body: string): Promise<string>;
  };
  readonly eventDecryptor: {
    attemptEventDecryption(event: MatrixEvent, ...more: unknown[]): Promise<object>;
    removeEventFromPendingList(event: MatrixEvent): void;
  };
  encryptEvent(event: MatrixEvent, room: Room): Promise<void>;
  isEncryptionEnabledInRoom(roomId: string): Promise<boolean>;
  forceDiscardSession(roomId: string): Promise<void>;
  onLiveEventFromSync(event: MatrixEvent): Promise<void>;
  onCryptoEvent(room: Room, event: MatrixEvent): Promise<void>;
  onKeyVerificationEvent(event: MatrixEvent): Promise<void>;
  onIncomingKeyVerificationRequest(sender: string, transactionId: string): void;
  onRoomKeysUpdated(keys: readonly RoomKey[]): Promise<void>;
  onRoomKeysWithheld(notices: readonly object[]): Promise<void>;
  processSyncChanges(changes: SyncChanges): Promise<ReceivedToDeviceMessage[]>;
  markAllTrackedUsersAsDirty(): Promise<void>;
  on(event: CryptoEvent.UserTrustStatusChanged, listener: (userId: string) => void): void;
  on(event: CryptoEvent.DevicesUpdated, listener: (userIds: readonly string[]) => void): void;
  stop(): void;
}

interface OlmMachine {
  readonly identityKeys: Readonly<Record<'ed25519' | 'curve25519', Base64Key>>;
  /** A new object with each access. */
  readonly userId: WasmUserId;
  /** A new object with each access. */
  readonly deviceId: WasmDeviceId;
  roomKeyCounts(): Promise<{ readonly total: number; readonly backedUp: number; free(): void }>;
  disableBackup(): Promise<void>;
  verifyBackup(info: object): Promise<{ readonly deviceState: number; free(): void }>;
  backupRoomKeys(): Promise<OutgoingRequest | undefined>;
  outgoingRequests(): Promise<readonly Partial<OutgoingRequest>[]>;
  receiveSyncChanges(...changes: unknown[]): Promise<ProcessedToDeviceMessage[]>;
  /** A `KeysClaimRequest` for the devices of these users that have no Olm session, and for those marked as broken. */
  getMissingSessions(userIds: WasmUserId[]): Promise<OutgoingRequest | undefined>;
  markRequestAsSent(requestId: string, type: number, response: string): Promise<unknown>;
  getUserDevices(userId: WasmUserId): Promise<{ devices(): WasmDevice[]; free(): void }>;
  /** The users whose devices the crypto library keeps up to date: those in encrypted rooms of the client. */
  trackedUsers(): Promise<ReadonlySet<WasmUserId>>;
  queryKeysForUsers(userIds: WasmUserId[]): OutgoingRequest;
  getIdentity(userId: WasmUserId): Promise<WasmIdentity | undefined>;
  getDevice(userId: WasmUserId, deviceId: WasmDeviceId): Promise<WasmDevice | undefined>;
  crossSigningStatus(): Promise<CrossSigningStatus>;
  bootstrapCrossSigning(reset: boolean): Promise<CrossSigningRequests>;
  exportCrossSigningKeys(): Promise<CrossSigningKeys | undefined>;
  decryptRoomEvent(...args: unknown[]): Promise<DecryptedRoomEvent>;
  getVerificationRequest(userId: WasmUserId, flowId: string): WasmVerificationRequest | undefined;
  getVerification(userId: WasmUserId, flowId: string): WasmSas | undefined;
  getRoomSettings(roomId: WasmRoomId): Promise<RoomSettings | undefined>;
  /** Rejects settings that differ from the stored ones. */
  setRoomSettings(roomId: WasmRoomId, settings: object): Promise<void>;
  /** Accepts only the `CollectStrategy` of its own WebAssembly copy. */
  shareRoomKey(
    room: WasmRoomId,
    users: readonly WasmUserId[],
    settings: { sharingStrategy: object },
  ): Promise<readonly ToDeviceRequest[]>;
  /** Makes the next message in the room begin a new session. */
  invalidateGroupSession(room: WasmRoomId): Promise<boolean>;
}

/** Messages to devices. */
export interface ToDeviceRequest {
  readonly event_type: string;
  /** JSON with `messages`. */
  readonly body: string;
}

interface WasmRoomId {
  toString(): string;
}

interface RoomSettings {
  readonly sessionRotationPeriodMs: number | undefined;
  readonly sessionRotationPeriodMessages: number | undefined;
  free(): void;
}

export interface WasmDevice {
  readonly deviceId: WasmDeviceId;
  readonly curve25519Key: (Base64Key & { free(): void }) | undefined;
  free(): void;
  isCrossSigningTrusted(): boolean;
  /** Returns the content of an `m.room.encrypted` event, as JSON. Rejects without an Olm session. */
  encryptToDeviceEvent(type: string, content: object): Promise<string>;
}

/** A to-device message after the crypto library has received it. */
export interface ProcessedToDeviceMessage {
  /** A value of {@link PROCESSED_MESSAGES}, among others. */
  readonly type: number;
  /** The event as JSON: decrypted, if that was possible. */
  readonly rawEvent: string;
}

/** Values of `ProcessedToDeviceEventType` of the SDK's WebAssembly. */
export const PROCESSED_MESSAGES = { undecryptable: 1, clear: 2 } as const;

/** The requests that publish new cross-signing keys, in this order. */
interface CrossSigningRequests {
  readonly uploadKeysRequest: OutgoingRequest | undefined;
  readonly uploadSigningKeysRequest: OutgoingRequest;
  readonly uploadSignaturesRequest: OutgoingRequest;
}

/** Private cross-signing keys. */
interface CrossSigningKeys {
  readonly masterKey: string | undefined;
  readonly self_signing_key: string | undefined;
  readonly userSigningKey: string | undefined;
  free(): void;
}

/** Which private cross-signing keys the device has. */
interface CrossSigningStatus {
  readonly hasMaster: boolean;
  readonly hasSelfSigning: boolean;
  readonly hasUserSigning: boolean;
  free(): void;
}

interface WasmIdentity {
  /** The published master key, as JSON. */
  readonly masterKey: string;
  free(): void;
  verify(): Promise<OutgoingRequest>;
  isVerified(): boolean;
  /** Whether the user has ever verified keys of the owner. */
  wasPreviouslyVerified(): boolean;
  /** Whether the user has verified earlier keys of the owner, and not the present ones. */
  hasVerificationViolation(): boolean;
  /** Whether the keys are others than those that were seen first. The user's own identity does not have the method. */
  identityNeedsUserApproval?(): boolean;
}

/** A request for a verification. */
export interface WasmVerificationRequest {
  readonly cancelInfo: WasmCancelInfo | undefined;
  free(): void;
  acceptWithMethods(methods: readonly number[]): OutgoingRequest | undefined;
  cancel(): OutgoingRequest | undefined;
  /** A new object with each call. */
  getVerification(): WasmSas | undefined;
  isCancelled(): boolean;
  isDone(): boolean;
  /** Whether another device of the user has answered the request. */
  isPassive(): boolean;
  isReady(): boolean;
  startSas(): Promise<[WasmSas, OutgoingRequest] | undefined>;
}

/** A comparison of emoji. */
export interface WasmSas {
  free(): void;
  /** Returns nothing where there is nothing to accept. */
  accept(): OutgoingRequest | undefined;
  cancelWithCode(code: string): OutgoingRequest | undefined;
  cancelInfo(): WasmCancelInfo | undefined;
  canBePresented(): boolean;
  confirm(): Promise<readonly OutgoingRequest[]>;
  /** Undefined before it can be presented, and if the other side has no emoji. */
  emoji(): readonly { readonly symbol: string; readonly description: string; free(): void }[] | undefined;
  isCancelled(): boolean;
  isDone(): boolean;
}

interface WasmCancelInfo {
  free(): void;
  cancelCode(): string;
  cancelledbyUs(): boolean;
  reason(): string;
}

export interface WasmDeviceId {
  free(): void;
  toString(): string;
}

/** What the WebAssembly says of a decrypted event; the SDK passes on only a part of it. */
export interface DecryptedRoomEvent {
  readonly sender: WasmUserId;
  readonly senderDevice: WasmDeviceId | undefined;
  shieldState(strict: boolean): { readonly code: ShieldStateCode | undefined; free(): void };
}

/** `ShieldStateCode` of the SDK's WebAssembly. Without a code, the sending device is verified. */
export const SHIELD_CODES = {
  /** The key is from a backup, or was forwarded, or the sending device is not its owner. */
  authenticityNotGuaranteed: 0,
  unknownDevice: 1,
  unsignedDevice: 2,
  unverifiedIdentity: 3,
  verificationViolation: 4,
  mismatchedSender: 5,
} as const;
type ShieldStateCode = (typeof SHIELD_CODES)[keyof typeof SHIELD_CODES];

interface BackupManager {
  readonly constructor: { readonly maxBackupLoopStartDelayMillis: number };
  readonly activeBackupVersion: string | null;
  readonly keyBackupCheckInProgress: Promise<unknown> | null;
  disableKeyBackup(): Promise<void>;
  emit(event: CryptoEvent, ...args: readonly unknown[]): void;
  on(event: CryptoEvent.KeyBackupStatus, listener: (enabled: boolean) => void): void;
  on(event: CryptoEvent.KeyBackupSessionsRemaining, listener: (remaining: number) => void): void;
  maybeUploadKey(): Promise<void>;
  checkKeyBackupAndEnable(force: boolean): Promise<unknown>;
  importBackedUpRoomKeys(keys: readonly { session_id: string }[], ...more: unknown[]): Promise<void>;
}

interface Base64Key {
  toBase64(): string;
}

/** A request of the crypto library; some have no body. */
export interface OutgoingRequest {
  readonly id?: string | undefined;
  readonly type: number;
  readonly body: string;
  free?(): void;
}

export interface RoomKey {
  readonly sessionId: string;
  readonly senderKey: Base64Key;
}

/** The parts of a sync response that the SDK passes to the crypto library. */
export interface SyncChanges {
  readonly toDeviceEvents: readonly object[];
  readonly deviceLists?: { readonly changed?: readonly string[]; readonly left?: readonly string[] };
  readonly oneTimeKeysCounts?: object;
  readonly unusedFallbackKeys?: readonly string[];
}

/** A to-device message as the SDK passes it on. */
export interface ReceivedToDeviceMessage {
  /** The event, decrypted. */
  readonly message: object;
  /** Null if the message was not encrypted. */
  readonly encryptionInfo: object | null;
}

/** The WebAssembly's `UserId`. Only the class of the SDK's own copy is accepted. */
export interface WasmUserId {
  free(): void;
  toString(): string;
}

/** `RequestType.KeysUpload` of the SDK's WebAssembly. */
export const KEYS_UPLOAD = 0;
/** `RequestType.KeysQuery` of the SDK's WebAssembly. */
export const KEYS_QUERY = 1;
/** `RequestType.KeysClaim` of the SDK's WebAssembly. */
export const KEYS_CLAIM = 2;
/** `RequestType.KeysBackup` of the SDK's WebAssembly. */
export const KEYS_BACKUP = 6;

/** Number of the device's room keys that are not in its backup. */
export async function countKeysToBackUp({ olmMachine }: Pick<CryptoBackend, 'olmMachine'>): Promise<number> {
  const counts = await olmMachine.roomKeyCounts();
  const { total, backedUp } = counts;
  counts.free();
  return total - backedUp;
}

/**
 * Makes the SDK upload all keys to the next backup. It remembers which keys it has uploaded, and would leave them out
 * even if that backup was deleted while the client was stopped.
 */
export function disableBackup({ olmMachine }: CryptoBackend): Promise<void> {
  return olmMachine.disableBackup();
}

/** Whether the user has other cross-signing keys than those that were seen first or verified, and not verified since. */
export function hasIdentityChanged(identity: WasmIdentity): boolean {
  return identity.hasVerificationViolation() || (identity.identityNeedsUserApproval?.() ?? false);
}

/** Whether the device has all private cross-signing keys of the user. */
export async function hasPrivateKeys({ olmMachine }: Pick<CryptoBackend, 'olmMachine'>): Promise<boolean> {
  const status = await olmMachine.crossSigningStatus();
  const { hasMaster, hasSelfSigning, hasUserSigning } = status;
  status.free();
  return hasMaster && hasSelfSigning && hasUserSigning;
}

/** `SignatureState.ValidAndTrusted` of the SDK's WebAssembly. */
const VALID_AND_TRUSTED = 3;

/** Whether this device has signed the backup, as it does with those that it creates. */
export async function isSignedByDevice(
  { olmMachine }: Pick<CryptoBackend, 'olmMachine'>,
  info: object,
): Promise<boolean> {
  const verification = await olmMachine.verifyBackup(info);
  const { deviceState } = verification;
  verification.free();
  return deviceState === VALID_AND_TRUSTED;
}

/** The RustCrypto of a client whose encryption is open. */
export function cryptoBackend(matrixClient: MatrixClient): CryptoBackend {
  return matrixClient.getCrypto() as unknown as CryptoBackend;
}
