import type { CryptoApi } from 'matrix-js-sdk/lib/crypto-api/index.js';
import { MatrixClientManagerError } from '../../core/errors.js';
import type { TrustPolicy } from '../../encryption/identity/identity-options.js';

/** What is reached of the SDK's OlmMachine; `CollectStrategy` is to be had in the SDK's own copy of the WebAssembly only. */
interface SharingMachine {
  readonly userId: { toString(): string };
  shareRoomKey(room: unknown, users: unknown, settings: { sharingStrategy: object }): Promise<unknown>;
}

/**
 * Has the SDK give room keys to the devices that `trust` names, from the next message on. Its
 * `OnlySignedDevicesIsolationMode` is not used: it would also refuse to read what unsigned devices send.
 * @param isSigned - whether the user's own device is cross-signed
 */
export function applyTrust(crypto: CryptoApi, trust: TrustPolicy, isSigned: () => Promise<boolean>): void {
  crypto.globalBlacklistUnverifiedDevices = trust === 'verified';
  if (trust !== 'cross-signed') return;
  const { olmMachine } = crypto as unknown as { readonly olmMachine: SharingMachine };
  const share = olmMachine.shareRoomKey.bind(olmMachine);
  const userId = olmMachine.userId.toString();
  olmMachine.shareRoomKey = async (room, users, settings) => {
    const strategies = settings.sharingStrategy.constructor as unknown as { identityBasedStrategy(): object };
    settings.sharingStrategy = strategies.identityBasedStrategy();
    try {
      return await share(room, users, settings);
    } catch (error) {
      if (await isSigned()) throw error;
      throw unsignedError(userId, error);
    }
  };
}

function unsignedError(userId: string, cause: unknown): MatrixClientManagerError {
  return new MatrixClientManagerError(
    'ENCRYPTION_UNVERIFIED',
    `nothing was sent: the device of ${userId} is not cross-signed, and with trust 'cross-signed' keys go from and to ` +
      'cross-signed devices only; give the recovery key, reset the identity, or choose another trust',
    { userId, cause },
  );
}
