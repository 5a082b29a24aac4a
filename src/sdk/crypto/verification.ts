import type { MachineGuard } from './machine-guard.js';
import type { MatrixClient } from 'matrix-js-sdk';
import type { CryptoApi } from 'matrix-js-sdk/lib/crypto-api/index.js';
import { MatrixClientManagerError } from '../../core/errors.js';
import type { CryptoBackend, OutgoingRequest } from './crypto-backend.js';
import type { UserVerification } from '../../encryption/encryption-status.js';
import { wasmUserId } from './wasm-user-id.js';

/** Queries the user's keys at the homeserver and returns their verification state. An invalid id has no keys. */
export async function verificationOf(crypto: CryptoApi, userId: string): Promise<UserVerification> {
  const id = wasmUserId(crypto as unknown as CryptoBackend, userId);
  if (!id) return { userId, hasIdentity: false, verified: false, identityChanged: false, devices: [] };
  id.free();
  await queryKeys(crypto, userId);
  const devices = (await crypto.getUserDeviceInfo([userId], true)).get(userId);
  const user = await crypto.getUserVerificationStatus(userId);
  const verified = [...(devices?.values() ?? [])].map(async (device) => {
    const status = await crypto.getDeviceVerificationStatus(userId, device.deviceId);
    return {
      deviceId: device.deviceId,
      ed25519: device.getFingerprint(),
      crossSigned: status?.signedByOwner ?? false,
      verified: status?.isVerified() ?? false,
    };
  });
  return {
    userId,
    hasIdentity: user.known,
    verified: user.isVerified(),
    identityChanged: user.needsUserApproval || (user.wasCrossSigningVerified() && !user.isVerified()),
    devices: await Promise.all(verified),
  };
}

/**
 * Signs the user's present cross-signing keys without comparing them: the caller vouches for them. The devices that the
 * user cross-signs count as verified after that. Rejects with `NOT_FOUND` if the user has no cross-signing keys.
 */
export async function signUser(crypto: CryptoApi, run: MachineGuard['run'], userId: string): Promise<void> {
  await queryKeys(crypto, userId);
  // The SDK's public interface signs other users only in interactive verifications.
  const backend = crypto as unknown as CryptoBackend;
  const id = wasmUserId(backend, userId);
  let identity: Awaited<ReturnType<typeof backend.olmMachine.getIdentity>>;
  let signatures: OutgoingRequest;
  try {
    const found = (identity = id && (await backend.olmMachine.getIdentity(id)));
    if (!found) {
      const message = `verifying ${userId} failed: they have no cross-signing keys`;
      throw new MatrixClientManagerError('NOT_FOUND', message, { userId });
    }
    signatures = await run('verify', () => found.verify());
  } finally {
    for (const object of [identity, id]) object?.free(); // the identity would keep the client in memory
  }
  await backend.outgoingRequestProcessor.makeOutgoingRequest(signatures);
  await queryKeys(crypto, userId); // makes the new signature known to the SDK
}

/**
 * Whether the client's user has another device, signed with their cross-signing keys.
 * @param without - a device that does not count
 */
export async function hasOtherSignedDevice(client: MatrixClient, without: string | undefined): Promise<boolean> {
  const crypto = client.getCrypto();
  const userId = client.getSafeUserId();
  const devices = (await crypto?.getUserDeviceInfo([userId]))?.get(userId);
  for (const deviceId of devices?.keys() ?? []) {
    if (deviceId === without || deviceId === client.getDeviceId()) continue;
    const status = await crypto?.getDeviceVerificationStatus(userId, deviceId);
    if (status?.signedByOwner) return true;
  }
  return false;
}

/**
 * Queries a user's keys at the homeserver. The SDK's public interface cannot force that for a known user. Makes no request
 * for an invalid id.
 */
export async function queryKeys(crypto: CryptoApi, userId: string): Promise<void> {
  const backend = crypto as unknown as CryptoBackend;
  const id = wasmUserId(backend, userId);
  if (!id) return;
  const query = backend.olmMachine.queryKeysForUsers([id]); // frees the id
  await backend.outgoingRequestProcessor.makeOutgoingRequest(query);
}
