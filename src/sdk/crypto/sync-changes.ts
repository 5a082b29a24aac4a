import type { MatrixClient } from 'matrix-js-sdk';
import type { Clock } from '../../core/clock.js';
import { cryptoBackend } from './crypto-backend.js';
import { userIdCheck } from './wasm-user-id.js';

/** A sync also makes the library expire verifications (after 10 minutes) and rotate fallback keys (after 7 days). */
const HOUSEKEEPING_MS = 60_000;

/**
 * Passes a sync to the crypto library only if it has changes for it, or once a minute. For each sync the library reads
 * and stores the device's account with all one-time keys, which costs more than decrypting a message.
 */
export function skipEmptySyncChanges(matrixClient: MatrixClient, clock: Clock): void {
  const crypto = cryptoBackend(matrixClient);
  const process = crypto.processSyncChanges.bind(crypto);
  const isUserId = userIdCheck(crypto);
  // On an id that it does not accept, the crypto library throws, and the sync's to-device messages are lost.
  const validUserIds = (userIds: readonly string[] | undefined): string[] => (userIds ?? []).filter(isUserId);
  let lastProcessed: { readonly keys: string; readonly until: number } | undefined;
  crypto.processSyncChanges = async (changes) => {
    const { toDeviceEvents, oneTimeKeysCounts, unusedFallbackKeys } = changes;
    const { changed, left } = changes.deviceLists ?? {};
    const deviceLists = { changed: validUserIds(changed), left: validUserIds(left) };
    const keys = JSON.stringify([oneTimeKeysCounts, unusedFallbackKeys]);
    const hasChanges = [toDeviceEvents, deviceLists.changed, deviceLists.left].some(({ length }) => length > 0);
    if (!hasChanges && keys === lastProcessed?.keys && clock.now() < lastProcessed.until) return [];
    lastProcessed = undefined;
    const processed = await process({ ...changes, deviceLists });
    lastProcessed = { keys, until: clock.now() + HOUSEKEEPING_MS };
    return processed;
  };
}
