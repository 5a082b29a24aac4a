import type { MatrixClient } from 'matrix-js-sdk';
import type { Clock } from '../../core/clock.js';
import type { Logger } from '../../core/logger.js';
import type {
  AuthUploadDeviceSigningKeys,
  IdentitySettings,
  RestoreProgress,
} from '../../encryption/identity/identity-options.js';

export interface IdentityOptions extends IdentitySettings {
  /** Proves who publishes cross-signing keys, where the homeserver wants that. */
  readonly authenticate: AuthUploadDeviceSigningKeys;
  /** With its encryption open, started or not. */
  readonly matrixClient: MatrixClient;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Whether the key backup is still to be read into the device. Outlives the process, as what was read does. */
  readonly device: { restorePending: boolean };
  /** Told when the user's cross-signing keys are as they can be, and only the backup is still to be seen to. */
  readonly onIdentityReady?: () => void;
  /** Told how far the restore from the key backup has come, in keys. */
  readonly onRestoreProgress?: (progress: RestoreProgress) => void;
}
