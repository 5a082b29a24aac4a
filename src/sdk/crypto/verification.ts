import type { CryptoApi } from 'matrix-js-sdk/lib/crypto-api/index.js';
import { MatrixClientManagerError } from '../../core/errors.js';
import type { UserVerification } from '../../encryption/encryption-status.js';

/**
 * What is reached of matrix-js-sdk's RustCrypto: it looks up known users only when they change, and signs others in
 * interactive verifications only.
 */
interface CryptoInside {
  readonly olmMachine: {
    readonly userId: { readonly constructor: unknown };
    queryKeysForUsers(userIds: object[]): object;
    getIdentity(userId: object): Promise<{ verify(): Promise<object> } | undefined>;
  };
  readonly outgoingRequestProcessor: { makeOutgoingRequest(request: object): Promise<void> };
}

/** What is known of a user; looks them up at the homeserver. */
export async function verificationOf(crypto: CryptoApi, userId: string): Promise<UserVerification> {
  await lookUp(crypto, userId);
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
 * Signs the user's cross-signing keys as they are now, for who knows otherwise that they are theirs: the devices that
 * they sign count as verified from then on. Rejects with `NOT_FOUND` where they have none.
 */
export async function signUser(crypto: CryptoApi, userId: string): Promise<void> {
  await lookUp(crypto, userId);
  const { olmMachine, outgoingRequestProcessor } = inside(crypto);
  const identity = await olmMachine.getIdentity(idOf(crypto, userId));
  if (!identity) {
    const message = `verifying ${userId} failed: they have no cross-signing keys`;
    throw new MatrixClientManagerError('NOT_FOUND', message, { userId });
  }
  await outgoingRequestProcessor.makeOutgoingRequest(await identity.verify());
  await lookUp(crypto, userId); // with the signature
}

async function lookUp(crypto: CryptoApi, userId: string): Promise<void> {
  const { olmMachine, outgoingRequestProcessor } = inside(crypto);
  await outgoingRequestProcessor.makeOutgoingRequest(olmMachine.queryKeysForUsers([idOf(crypto, userId)]));
}

function inside(crypto: CryptoApi): CryptoInside {
  return crypto as unknown as CryptoInside;
}

/** The id as the WebAssembly has it; `UserId` is to be had in the SDK's own copy of that only. */
function idOf(crypto: CryptoApi, userId: string): object {
  const UserId = inside(crypto).olmMachine.userId.constructor as new (id: string) => object;
  return new UserId(userId);
}
