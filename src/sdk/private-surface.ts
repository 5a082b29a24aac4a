import { EventTimelineSet, MatrixEvent, Room, RoomMember, RoomState } from 'matrix-js-sdk';
import type { MatrixClient } from 'matrix-js-sdk';
import { SyncApi } from 'matrix-js-sdk/lib/sync.js';
import { MatrixClientManagerError } from '../core/errors.js';

/**
 * The release line of matrix-js-sdk whose private parts were examined; package.json asks for the same.
 * @internal for scripts and tests
 */
export const examinedSdk = '~43.0.0';

/** A part that has to be there, by its path: `name()` is a method, `name` a value, `name?` one that may be null. */
type Part = string;

/** What is replaced or read inside a client that its types do not promise, or that a subclass may lose. */
const clientParts: readonly Part[] = [
  'http.authedRequest()', // replaced: `/sync`, `/versions` and push rules are answered by the library
  'http.abort()',
  'getOrCreateFilter()', // replaced: the filter goes into the query of each sync
  'matrixRTC.start()', // replaced: costs requests at each start
  'cachedRtcTransports.start()', // replaced, likewise
  'serverCapabilitiesService.start()', // replaced, likewise
  'reEmitter.reEmit()', // replaced by SharedReEmitter
  'reEmitter.stopReEmitting()',
  'setPushRules()', // replaced until somebody asks for the client
  'getPushActionsForEvent()', // wrapped: what it throws would end the sync
  'syncApi?', // intercepted: set at each start
  'getEventMapper()', // wrapped: without re-emitting
  'startClient()',
  'stopClient()',
  'store.getSavedSync()', // overridden by SyncStore
  'store.getSavedSyncToken()',
  'store.setSyncData()',
  'store.setSyncToken()',
  'store.storeAccountDataEvents()',
  'store.removeRoom()',
  'store.storeRoom()',
  'store.accountData.values()',
  'secretStorage.accountDataAdapter', // replaced by SecretKeeper
  'secretStorage.callbacks?', // replaced, likewise
];

/** What is wrapped of the SyncApi that each start of a client makes: one room's failure would end the sync of all. */
const syncApiParts: readonly Part[] = ['mapSyncResponseToRoomArray()', 'injectRoomEvents()'];

const roomParts: readonly Part[] = [
  'oldState.events.clear()', // emptied: nobody goes back from there
  'oldState.members', // replaced by empty ones, likewise
  'currentState.events.values()', // read for snapshots
  'resetLiveTimeline()',
  'addLiveEvents()',
  'addReceipt()',
  'setUnreadNotificationCount()',
  'hasEncryptionStateEvent()',
  'findEventById()',
];

const oldStateParts: readonly Part[] = ['sentinels', 'userIdsToDisplayNames', 'displayNameToUserIds'];
const eventParts: readonly Part[] = [
  'reEmitter',
  'attemptDecryption()',
  'getWireContent()',
  'decryptionFailureReason?',
];

/** What is replaced, wrapped or called inside the client's RustCrypto and the WebAssembly behind it. */
const cryptoParts: readonly Part[] = [
  'olmMachine.close()',
  'olmMachine.receiveSyncChanges()', // wrapped by MachineGuard, as all methods are: one commit
  'olmMachine.outgoingRequests()',
  'olmMachine.encryptRoomEvent()',
  'olmMachine.decryptRoomEvent()',
  'olmMachine.shareRoomKey()', // wrapped by the trust policy
  'olmMachine.backupRoomKeys()',
  'olmMachine.disableBackup()',
  'olmMachine.roomKeyCounts()',
  'olmMachine.queryKeysForUsers()',
  'olmMachine.getIdentity()',
  'olmMachine.userId.toString()',
  'olmMachine.identityKeys.ed25519.toBase64()',
  'olmMachine.identityKeys.curve25519.toBase64()',
  'backupManager.constructor.maxBackupLoopStartDelayMillis',
  'backupManager.activeBackupVersion?',
  'backupManager.keyBackupCheckInProgress?',
  'backupManager.backupKeysLoop()', // replaced: the SDK's own waits outlive the client
  'backupManager.disableKeyBackup()',
  'backupManager.maybeUploadKey()',
  'backupManager.checkKeyBackupAndEnable()',
  'backupManager.importBackedUpRoomKeys()',
  'backupManager.emit()',
  'backupManager.on()',
  'roomEncryptors',
  'outgoingRequestsManager.doProcessOutgoingRequests()',
  'outgoingRequestProcessor.rawJsonRequest()',
  'outgoingRequestProcessor.requestWithRetry()', // replaced, as backupKeysLoop() is
  'outgoingRequestProcessor.makeOutgoingRequest()',
  'perSessionBackupDownloader.queryKeyBackup()',
  'eventDecryptor.removeEventFromPendingList()',
  'checkKeyBackupAndEnable()', // wrapped: nobody waits for the SDK's first look at the backup
  'encryptEvent()',
  'forceDiscardSession()',
  'processSyncChanges()', // wrapped: hears only of syncs that concern it
  'onRoomKeysUpdated()',
  'onRoomKeysWithheld()',
  'onLiveEventFromSync()', // replaced: sets a timer of five minutes per event
  'onCryptoEvent()',
  'onKeyVerificationEvent()',
  'markAllTrackedUsersAsDirty()',
  'stop()',
];

/**
 * The private parts of the SDK that the library stands on and that this client, and what it makes, lacks.
 * @internal for scripts and tests
 */
export function missingClientParts(client: MatrixClient): string[] {
  const room = new Room('!surface:localhost', client, '@surface:localhost');
  return [
    ...missing('MatrixClient', client, clientParts),
    ...missing('SyncApi', SyncApi.prototype, syncApiParts),
    ...missing('Room', room, roomParts),
    ...missing('Room.oldState', room.oldState, oldStateParts),
    ...missing('MatrixEvent', new MatrixEvent({}), eventParts),
    ...missing('EventTimelineSet', EventTimelineSet.prototype, ['removeEvent()']),
    ...missing('RoomState', RoomState.prototype, ['removeAllListeners()']),
    ...missing('RoomMember', RoomMember.prototype, ['removeAllListeners()']),
  ];
}

/**
 * As {@link missingClientParts}, of a client whose encryption is open.
 * @internal for scripts and tests
 */
export function missingCryptoParts(client: MatrixClient): string[] {
  return missing('RustCrypto', client.getCrypto(), cryptoParts);
}

let clientAsserted = false;
let cryptoAsserted = false;

/** Throws `UNSUPPORTED` where the installed SDK lacks a part; looks at the first client of the process only. */
export function assertClientSurface(client: MatrixClient): void {
  if (clientAsserted) return;
  refuse(missingClientParts(client));
  clientAsserted = true;
}

/** As {@link assertClientSurface}, of a client whose encryption has just been opened. */
export function assertCryptoSurface(client: MatrixClient): void {
  if (cryptoAsserted) return;
  refuse(missingCryptoParts(client));
  cryptoAsserted = true;
}

function refuse(parts: readonly string[]): void {
  if (parts.length === 0) return;
  throw new MatrixClientManagerError(
    'UNSUPPORTED',
    `the installed matrix-js-sdk lacks ${parts.join(', ')}, which this library replaces or reads; ` +
      `install matrix-js-sdk ${examinedSdk}`,
  );
}

function missing(name: string, object: unknown, parts: readonly Part[]): string[] {
  return parts.filter((part) => !has(object, part)).map((part) => `${name}.${part}`);
}

function has(object: unknown, part: Part): boolean {
  let value = object;
  for (const name of part.replace(/\(\)$|\?$/, '').split('.')) {
    if (value === null || value === undefined || !(name in Object(value))) return false;
    value = (value as Record<string, unknown>)[name];
  }
  if (part.endsWith('()')) return typeof value === 'function';
  return part.endsWith('?') || (value !== undefined && value !== null);
}
