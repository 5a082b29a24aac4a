import type { MatrixClient } from 'matrix-js-sdk';
import { Method } from 'matrix-js-sdk/lib/http-api/method.js';
import { isObject } from '../../core/raw-event.js';
import type { AuthUploadDeviceSigningKeys } from '../../encryption/identity/identity-options.js';

/** Whether the user's cross-signing keys are published. The SDK also counts keys that it has not published yet. */
export async function areKeysPublished(matrixClient: MatrixClient): Promise<boolean> {
  return (await publishedMasterKey(matrixClient)) !== undefined;
}

/** Whether this public master key is the user's at the homeserver. */
export async function isPublished(matrixClient: MatrixClient, masterKey: string): Promise<boolean> {
  const published = await publishedMasterKey(matrixClient);
  return published !== undefined && masterKeyOf(published) === masterKey;
}

/** The public key in a published master key. Its signatures change without a change of the identity. */
export function masterKeyOf(published: { readonly keys?: unknown }): string {
  return isObject(published.keys) ? Object.values(published.keys).join() : '';
}

async function publishedMasterKey(matrixClient: MatrixClient): Promise<{ readonly keys?: unknown } | undefined> {
  const userId = matrixClient.getSafeUserId();
  const { master_keys: masterKeys } = await matrixClient.downloadKeysForUsers([userId]);
  return masterKeys?.[userId];
}

/** The version of the user's key backup, if there is one. The SDK also returns none after a failed request. */
export async function currentBackupVersion(matrixClient: MatrixClient): Promise<string | undefined> {
  try {
    const path = '/room_keys/version';
    return (await matrixClient.http.authedRequest<{ version: string }>(Method.Get, path)).version;
  } catch (error) {
    if ((error as { errcode?: unknown }).errcode === 'M_NOT_FOUND') return undefined;
    throw error;
  }
}

/** Whether the request failed because the backup was deleted or replaced. */
export function isBackupGone(error: unknown): boolean {
  const { errcode } = error as { errcode?: unknown };
  return errcode === 'M_NOT_FOUND' || errcode === 'M_WRONG_ROOM_KEYS_VERSION';
}

/** Authenticates only while no keys are published, so that the keys of a client that was faster are not replaced. */
export function authenticateFirstPublication(
  matrixClient: MatrixClient,
  authenticate: AuthUploadDeviceSigningKeys,
): AuthUploadDeviceSigningKeys {
  return async (makeRequest) => {
    try {
      await makeRequest(null);
    } catch (error) {
      if (await areKeysPublished(matrixClient)) throw error;
      await authenticate(makeRequest);
    }
  };
}
