import type { MatrixClient } from 'matrix-js-sdk';
import type { Clock } from '../../core/clock.js';

/** What a sync has for the crypto library, as the SDK hands it over. */
interface SyncChanges {
  readonly toDeviceEvents: readonly object[];
  readonly deviceLists?: { readonly changed?: readonly string[]; readonly left?: readonly string[] };
  readonly oneTimeKeysCounts?: object;
  readonly unusedFallbackKeys?: readonly string[];
}

interface SyncListener {
  readonly olmMachine: { readonly userId: { readonly constructor: unknown } };
  processSyncChanges(changes: SyncChanges): Promise<object[]>;
}

/** Its housekeeping goes by the sync: verifications end after 10 minutes, fallback keys after 7 days. */
const HOUSEKEEPING_MS = 60_000;

/**
 * Tells the crypto library of a sync only where that has something for it, and once a minute. It unpacks and stores
 * the device's account each time, with all one-time keys, which costs more than decrypting a message.
 */
export function skipEmptySyncChanges(matrixClient: MatrixClient, clock: Clock): void {
  const crypto = matrixClient.getCrypto() as unknown as SyncListener;
  const process = crypto.processSyncChanges.bind(crypto);
  const UserId = crypto.olmMachine.userId.constructor as new (id: string) => { free(): void };
  const known = (userIds: readonly string[] | undefined): string[] =>
    (userIds ?? []).filter((id) => isUserId(UserId, id));
  let told: { readonly keys: string; readonly until: number } | undefined;
  crypto.processSyncChanges = async (changes) => {
    const { toDeviceEvents, oneTimeKeysCounts, unusedFallbackKeys } = changes;
    const { changed, left } = changes.deviceLists ?? {};
    const deviceLists = { changed: known(changed), left: known(left) };
    const keys = JSON.stringify([oneTimeKeysCounts, unusedFallbackKeys]);
    const news = [toDeviceEvents, deviceLists.changed, deviceLists.left].some(({ length }) => length > 0);
    if (!news && keys === told?.keys && clock.now() < told.until) return [];
    told = undefined;
    const processed = await process({ ...changes, deviceLists });
    told = { keys, until: clock.now() + HOUSEKEEPING_MS };
    return processed;
  };
}

/** Whether the crypto library takes it for a user: at another it throws, and what came to the device with it is lost. */
function isUserId(UserId: new (id: string) => { free(): void }, id: string): boolean {
  try {
    new UserId(id).free();
    return true;
  } catch {
    return false;
  }
}
