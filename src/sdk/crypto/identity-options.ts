import type { MatrixClient } from 'matrix-js-sdk';
import type { Clock } from '../../core/clock.js';
import type { Logger } from '../../core/logger.js';
import type {
  AuthUploadDeviceSigningKeys,
  IdentitySettings,
  RestoreProgress,
} from '../../encryption/identity/identity-options.js';

export interface IdentityOptions extends IdentitySettings {
  /** Passes user-interactive authentication where the homeserver asks for it to publish cross-signing keys. */
  readonly authenticate: AuthUploadDeviceSigningKeys;
  /** Its encryption has to be open. It need not be started. */
  readonly matrixClient: MatrixClient;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Whether the device still has to read the key backup. Stored, because a restore may be interrupted by a crash. */
  readonly device: { readonly restorePending: boolean; setRestorePending(pending: boolean): Promise<void> };
  /** Called when the cross-signing keys are set up. The key backup is set up after that. */
  readonly onIdentityReady?: () => void;
  /** Called with the number of keys that a restore from the key backup has read so far. */
  readonly onRestoreProgress?: (progress: RestoreProgress) => void;
}
