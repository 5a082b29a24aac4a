import type { CryptoApi } from 'matrix-js-sdk/lib/crypto-api/index.js';
import { MatrixClientManagerError } from '../../core/errors.js';
import type { UserVerification } from '../../encryption/encryption-status.js';

/**
 * Private members of matrix-js-sdk's RustCrypto. Its public interface cannot force a key query for a known user, and
 * signs other users only in interactive verifications.
 */
interface RustCryptoInternals {
  readonly olmMachine: {
    readonly userId: { readonly constructor: unknown };
    queryKeysForUsers(userIds: object[]): object;
    getIdentity(userId: object): Promise<{ verify(): Promise<object> } | undefined>;
  };
  readonly outgoingRequestProcessor: { makeOutgoingRequest(request: object): Promise<void> };
}

/** Queries the user's keys at the homeserver and returns their verification state. */
export async function verificationOf(crypto: CryptoApi, userId: string): Promise<UserVerification> {
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
export async function signUser(crypto: CryptoApi, userId: string): Promise<void> {
  await queryKeys(crypto, userId);
  const { olmMachine, outgoingRequestProcessor } = internalsOf(crypto);
  const identity = await olmMachine.getIdentity(toUserId(crypto, userId));
  if (!identity) {
    const message = `verifying ${userId} failed: they have no cross-signing keys`;
    throw new MatrixClientManagerError('NOT_FOUND', message, { userId });
  }
  await outgoingRequestProcessor.makeOutgoingRequest(await identity.verify());
  await queryKeys(crypto, userId); // makes the new signature known to the SDK
}

async function queryKeys(crypto: CryptoApi, userId: string): Promise<void> {
  const { olmMachine, outgoingRequestProcessor } = internalsOf(crypto);
  await outgoingRequestProcessor.makeOutgoingRequest(olmMachine.queryKeysForUsers([toUserId(crypto, userId)]));
}

function internalsOf(crypto: CryptoApi): RustCryptoInternals {
  return crypto as unknown as RustCryptoInternals;
}

/** Converts the id to the WebAssembly's `UserId`. Only the class of the SDK's own copy is accepted. */
function toUserId(crypto: CryptoApi, userId: string): object {
  const UserId = internalsOf(crypto).olmMachine.userId.constructor as new (id: string) => object;
  return new UserId(userId);
}
