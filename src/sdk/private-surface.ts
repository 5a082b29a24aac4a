import { EventTimelineSet, MatrixEvent, Room, RoomMember, RoomState } from 'matrix-js-sdk';
import type { MatrixClient } from 'matrix-js-sdk';
import { SyncApi } from 'matrix-js-sdk/lib/sync.js';
import { MatrixClientManagerError } from '../core/errors.js';

/**
 * The versions of matrix-js-sdk whose private parts were examined; package.json requires the same range.
 * @internal for scripts and tests
 */
export const examinedSdk = '~43.0.0';

/** Path of a required part: `name()` is a method, `name` a value, `name?` a property that may be null or undefined. */
type PartPath = string;

/** Parts of a client that are replaced, wrapped or read. */
const clientParts: readonly PartPath[] = [
  // replaced: `/sync`, `/versions` and push rules are answered by the library; refuses clear text for encrypted rooms
  'http.authedRequest()',
  'http.abort()',
  'getOrCreateFilter()', // replaced: the filter goes into the query of each sync
  'matrixRTC.start()', // replaced: costs requests at each start
  'cachedRtcTransports.start()', // replaced for the same reason
  'serverCapabilitiesService.start()', // replaced for the same reason
  'reEmitter.reEmit()', // replaced by SharedReEmitter
  'reEmitter.stopReEmitting()',
  'setPushRules()', // replaced until the application asks for the client
  'encryptEventIfNeeded()', // wrapped: leaves events clear for a room that the client lacks
  'getPushActionsForEvent()', // wrapped: an error that it throws would end the sync
  'syncApi?', // intercepted: set at each start
  'getEventMapper()', // wrapped: its events are not re-emitted
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
  'store.accountData.get()',
  'secretStorage.accountDataAdapter', // replaced by SecretStorageAccess
  'secretStorage.callbacks?', // replaced by SecretStorageAccess
];

/** Methods that are wrapped in the SyncApi of each start: an error in one room would end the sync of all rooms. */
const syncApiParts: readonly PartPath[] = ['mapSyncResponseToRoomArray()', 'injectRoomEvents()'];

const roomParts: readonly PartPath[] = [
  'oldState.events.clear()', // emptied: nothing paginates back from it in the SDK
  'oldState.members', // replaced by empty ones for the same reason
  'currentState.events.values()', // read for snapshots
  'resetLiveTimeline()',
  'addLiveEvents()',
  'addReceipt()',
  'setUnreadNotificationCount()',
  'hasEncryptionStateEvent()',
  'heroes?', // read for the names of rooms
  'findEventById()',
];

const oldStateParts: readonly PartPath[] = ['sentinels', 'userIdsToDisplayNames', 'displayNameToUserIds'];
const eventParts: readonly PartPath[] = [
  'reEmitter',
  'attemptDecryption()',
  'getWireContent()',
  'decryptionFailureReason?',
];

/** Parts of the client's RustCrypto, and of the WebAssembly behind it, that are replaced, wrapped or called. */
const cryptoParts: readonly PartPath[] = [
  'olmMachine.close()',
  'olmMachine.receiveSyncChanges()', // wrapped by MachineGuard, as all methods are; tells what could not be decrypted
  'olmMachine.getMissingSessions()', // wrapped: claims keys in vain with each message
  'olmMachine.markRequestAsSent()', // wrapped: verifications go on after it
  'olmMachine.getUserDevices()',
  'olmMachine.outgoingRequests()', // wrapped: the SDK repeats a claim without keys in a loop
  'olmMachine.encryptRoomEvent()',
  'olmMachine.decryptRoomEvent()', // wrapped: the SDK drops what its result says of the sender
  'olmMachine.shareRoomKey()', // wrapped: applies the trust policy, and sees which devices get no key
  'olmMachine.invalidateGroupSession()',
  'olmMachine.getRoomSettings()',
  'olmMachine.setRoomSettings()', // wrapped: it refuses changed settings
  'olmMachine.backupRoomKeys()',
  'olmMachine.disableBackup()',
  'olmMachine.verifyBackup()',
  'olmMachine.roomKeyCounts()',
  'olmMachine.queryKeysForUsers()',
  'olmMachine.getDevice()',
  'olmMachine.getIdentity()',
  'olmMachine.crossSigningStatus()',
  'olmMachine.getVerification()',
  'olmMachine.getVerificationRequest()',
  'olmMachine.bootstrapCrossSigning()',
  'olmMachine.exportCrossSigningKeys()',
  'olmMachine.userId.toString()',
  'olmMachine.userId.free()',
  'olmMachine.userId.constructor',
  'olmMachine.deviceId.free()',
  'olmMachine.deviceId.constructor',
  'olmMachine.identityKeys.ed25519.toBase64()',
  'olmMachine.identityKeys.curve25519.toBase64()',
  'backupManager.constructor.maxBackupLoopStartDelayMillis',
  'backupManager.activeBackupVersion?',
  'backupManager.keyBackupCheckInProgress?',
  'backupManager.backupKeysLoop()', // replaced: the SDK's timers outlive the client
  'backupManager.disableKeyBackup()',
  'backupManager.maybeUploadKey()',
  'backupManager.checkKeyBackupAndEnable()',
  'backupManager.importBackedUpRoomKeys()',
  'backupManager.emit()',
  'backupManager.on()',
  'on()',
  'roomEncryptors',
  'outgoingRequestsManager.doProcessOutgoingRequests()',
  'outgoingRequestProcessor.rawJsonRequest()',
  'outgoingRequestProcessor.requestWithRetry()', // replaced for the same reason as backupKeysLoop()
  'outgoingRequestProcessor.makeOutgoingRequest()',
  'perSessionBackupDownloader.queryKeyBackup()',
  'eventDecryptor.attemptEventDecryption()', // wrapped: refuses events of another sender, and repeated ones
  'eventDecryptor.removeEventFromPendingList()',
  'checkKeyBackupAndEnable()', // wrapped: the SDK does not await its first check of the backup
  'encryptEvent()', // wrapped: makes the encryptor of a room whose encryption the homeserver hides
  'isEncryptionEnabledInRoom()', // wrapped for the same reason
  'forceDiscardSession()',
  'processSyncChanges()', // wrapped: called only for syncs that concern encryption; holds back verification requests
  'onIncomingKeyVerificationRequest()', // wrapped: keeps an object of each request
  'onRoomKeysUpdated()',
  'onRoomKeysWithheld()',
  'onLiveEventFromSync()', // replaced: sets a timer of five minutes per event
  'onCryptoEvent()', // replaced: the SDK makes no encryptor after a change of settings
  'onKeyVerificationEvent()',
  'markAllTrackedUsersAsDirty()',
  'stop()',
];

/**
 * The private parts that the library needs and that this client, or an object that the SDK creates, lacks.
 * @internal for scripts and tests
 */
export function missingClientParts(client: MatrixClient): string[] {
  const room = new Room('!surface:localhost', client, '@surface:localhost');
  return [
    ...missingParts('MatrixClient', client, clientParts),
    ...missingParts('SyncApi', SyncApi.prototype, syncApiParts),
    ...missingParts('Room', room, roomParts),
    ...missingParts('Room.oldState', room.oldState, oldStateParts),
    ...missingParts('MatrixEvent', new MatrixEvent({}), eventParts),
    ...missingParts('EventTimelineSet', EventTimelineSet.prototype, ['removeEvent()']),
    ...missingParts('RoomState', RoomState.prototype, ['removeAllListeners()']),
    ...missingParts('RoomMember', RoomMember.prototype, ['removeAllListeners()']),
  ];
}

/**
 * Like {@link missingClientParts}, for a client whose encryption is open.
 * @internal for scripts and tests
 */
export function missingCryptoParts(client: MatrixClient): string[] {
  return missingParts('RustCrypto', client.getCrypto(), cryptoParts);
}

const asserted = new Set<(client: MatrixClient) => string[]>();

/** Throws `UNSUPPORTED` if the installed SDK lacks a part. Checks only the first client of the process. */
export function assertClientSurface(client: MatrixClient): void {
  assertNoneMissing(client, missingClientParts);
}

/** Like {@link assertClientSurface}, for a client whose encryption was just opened. */
export function assertCryptoSurface(client: MatrixClient): void {
  assertNoneMissing(client, missingCryptoParts);
}

function assertNoneMissing(client: MatrixClient, find: (client: MatrixClient) => string[]): void {
  const missing = asserted.has(find) ? [] : find(client);
  if (missing.length > 0) {
    throw new MatrixClientManagerError(
      'UNSUPPORTED',
      `the installed matrix-js-sdk lacks ${missing.join(', ')}, which this library replaces or reads; ` +
        `install matrix-js-sdk ${examinedSdk}`,
    );
  }
  asserted.add(find);
}

function missingParts(name: string, object: unknown, parts: readonly PartPath[]): string[] {
  return parts.filter((part) => !hasPart(object, part)).map((part) => `${name}.${part}`);
}

function hasPart(object: unknown, part: PartPath): boolean {
  let value = object;
  for (const name of part.replace(/\(\)$|\?$/, '').split('.')) {
    if (value === null || value === undefined || !(name in Object(value))) return false;
    value = (value as Record<string, unknown>)[name];
  }
  if (part.endsWith('()')) return typeof value === 'function';
  return part.endsWith('?') || (value !== undefined && value !== null);
}
