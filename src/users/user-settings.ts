import type { Context } from '../core/context.js';
import type { DeliveryOptions } from '../delivery/delivery.js';
import type { EncryptionSettings } from '../encryption/encryption-options.js';
import type { SyncSettings } from '../sync/sync-context.js';
import type { Storage } from '../storage/storage.js';
import type { ClientRegistryOptions } from './client-registry.js';
import type { ConnectionPolicy } from './connection-policy.js';

/** The manager's settings that the users' clients need. */
export interface UserSettings
  extends
    SyncSettings,
    Pick<Context, 'clock' | 'logger'>,
    Pick<ClientRegistryOptions, 'sweepIntervalMs' | 'maxHeapBytes' | 'maxClients' | 'startConcurrency'>,
    Pick<DeliveryOptions, 'gapFillLimit'> {
  readonly storage: Storage;
  readonly encryption?: EncryptionSettings;
  readonly connectionPolicy?: ConnectionPolicy;
  readonly idleTimeoutMs: number;
  /** How long a stop waits for running callbacks, in milliseconds. */
  readonly stopTimeoutMs: number;
}
