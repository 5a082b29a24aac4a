import type { MatrixClient } from 'matrix-js-sdk';
import { Method } from 'matrix-js-sdk/lib/http-api/method.js';
import type { AuthUploadDeviceSigningKeys } from '../../encryption/identity/identity-options.js';

/** Whether the user has cross-signing keys. The SDK would also count those that it has made, and could not publish. */
export async function isPublished(matrixClient: MatrixClient): Promise<boolean> {
  const userId = matrixClient.getSafeUserId();
  const { master_keys: masterKeys } = await matrixClient.downloadKeysForUsers([userId]);
  return masterKeys?.[userId] !== undefined;
}

/** The version of the user's key backup. The SDK would also say that there is none when it could not ask. */
export async function newestBackup(matrixClient: MatrixClient): Promise<string | undefined> {
  try {
    const path = '/room_keys/version';
    return (await matrixClient.http.authedRequest<{ version: string }>(Method.Get, path)).version;
  } catch (error) {
    if ((error as { errcode?: unknown }).errcode === 'M_NOT_FOUND') return undefined;
    throw error;
  }
}

/** Whether the backup that was asked for is not there any more, or another one is. */
export function isBackupGone(error: unknown): boolean {
  const { errcode } = error as { errcode?: unknown };
  return errcode === 'M_NOT_FOUND' || errcode === 'M_WRONG_ROOM_KEYS_VERSION';
}

/** Passes the authentication of who publishes keys where there are none, and replaces none of a client that was quicker. */
export function publishesFirst(
  matrixClient: MatrixClient,
  authenticate: AuthUploadDeviceSigningKeys,
): AuthUploadDeviceSigningKeys {
  return async (makeRequest) => {
    try {
      await makeRequest(null);
    } catch (error) {
      if (await isPublished(matrixClient)) throw error;
      await authenticate(makeRequest);
    }
  };
}
