import type { MatrixClient, MatrixEvent, Room } from 'matrix-js-sdk';
import type { CryptoEvent } from 'matrix-js-sdk/lib/crypto-api/index.js';

/** The private members of matrix-js-sdk's RustCrypto that this library uses. */
export interface CryptoBackend {
  readonly olmMachine: OlmMachine;
  readonly backupManager: {
    readonly constructor: { readonly maxBackupLoopStartDelayMillis: number };
    readonly activeBackupVersion: string | null;
    readonly keyBackupCheckInProgress: Promise<unknown> | null;
    disableKeyBackup(): Promise<void>;
    emit(event: CryptoEvent, ...args: readonly unknown[]): void;
    maybeUploadKey(): Promise<void>;
    checkKeyBackupAndEnable(force: boolean): Promise<unknown>;
  };
  readonly roomEncryptors: Readonly<Record<string, object | undefined>>;
  readonly outgoingRequestsManager: { doProcessOutgoingRequests(): Promise<void> };
  readonly outgoingRequestProcessor: {
    rawJsonRequest(...request: unknown[]): Promise<string>;
    makeOutgoingRequest(request: object): Promise<unknown>;
  };
  readonly eventDecryptor: { removeEventFromPendingList(event: MatrixEvent): void };
  encryptEvent(event: MatrixEvent, room: Room): Promise<void>;
  forceDiscardSession(roomId: string): Promise<void>;
  onLiveEventFromSync(event: MatrixEvent): Promise<void>;
  onCryptoEvent(room: Room, event: MatrixEvent): Promise<void>;
  onKeyVerificationEvent(event: MatrixEvent): Promise<void>;
  markAllTrackedUsersAsDirty(): Promise<void>;
  stop(): void;
}

interface OlmMachine {
  readonly identityKeys: { readonly ed25519: { toBase64(): string } };
  roomKeyCounts(): Promise<{ readonly total: number; readonly backedUp: number; free(): void }>;
  disableBackup(): Promise<void>;
  backupRoomKeys(): Promise<object | undefined>;
  outgoingRequests(): Promise<readonly { readonly type: number; readonly body?: string }[]>;
}

/** `RequestType.KeysUpload` of the SDK's WebAssembly. */
export const KEYS_UPLOAD = 0;

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
export function forgetUploadedKeys({ olmMachine }: CryptoBackend): Promise<void> {
  return olmMachine.disableBackup();
}

/** The RustCrypto of a client whose encryption is open. */
export function cryptoBackend(matrixClient: MatrixClient): CryptoBackend {
  return matrixClient.getCrypto() as unknown as CryptoBackend;
}
