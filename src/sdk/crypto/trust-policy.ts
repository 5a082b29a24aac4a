import type { CryptoApi } from 'matrix-js-sdk/lib/crypto-api/index.js';
import { MatrixClientManagerError } from '../../core/errors.js';
import type { CryptoBackend } from './crypto-backend.js';
import type { TrustPolicy } from '../../encryption/identity/identity-options.js';

/**
 * Makes the SDK share room keys only with the devices that `trust` allows, from the next message on. The SDK's
 * `OnlySignedDevicesIsolationMode` is not used, because it would also refuse to decrypt messages of unsigned devices.
 * @param isSigned - whether the user's own device is cross-signed
 */
export function applyTrust(crypto: CryptoApi, trust: TrustPolicy, isSigned: () => Promise<boolean>): void {
  crypto.globalBlacklistUnverifiedDevices = trust === 'verified';
  if (trust !== 'cross-signed') return;
  const { olmMachine } = crypto as unknown as CryptoBackend;
  const share = olmMachine.shareRoomKey.bind(olmMachine);
  const id = olmMachine.userId;
  const userId = id.toString();
  id.free();
  olmMachine.shareRoomKey = async (room, users, settings) => {
    const strategies = settings.sharingStrategy.constructor as unknown as { identityBasedStrategy(): object };
    settings.sharingStrategy = strategies.identityBasedStrategy();
    try {
      return await share(room, users, settings);
    } catch (error) {
      // The library has begun a session that it has not stored for reading: the device could not read its own messages.
      await olmMachine.invalidateGroupSession(room);
      if (await isSigned()) throw error;
      throw unsignedError(userId, error);
    }
  };
}

function unsignedError(userId: string, cause: unknown): MatrixClientManagerError {
  return new MatrixClientManagerError(
    'ENCRYPTION_UNVERIFIED',
    `nothing was sent: the device of ${userId} is not cross-signed, and trust 'cross-signed' shares keys among ` +
      'cross-signed devices only; give the recovery key, reset the identity, or choose another `trust`',
    { userId, cause },
  );
}
