import type { DeliveryOptions } from '../delivery/delivery.js';
import type { EncryptionSettings } from '../encryption/encryption-options.js';
import type { SyncClientOptions } from '../sdk/sync-client.js';
import type { Storage } from '../storage/storage.js';
import type { ClientRegistryOptions } from './client-registry.js';
import type { ConnectionPolicy } from './connection-policy.js';

/** The manager's settings that the users' clients need. */
export interface UserSettings
  extends
    Pick<
      SyncClientOptions,
      | 'clock'
      | 'logger'
      | 'slidingSync'
      | 'timelineLimit'
      | 'pollTimeoutMs'
      | 'startTimeoutMs'
      | 'requestTimeoutMs'
      | 'maxResponseBytes'
    >,
    Pick<ClientRegistryOptions, 'sweepIntervalMs' | 'maxHeapBytes' | 'maxClients' | 'startConcurrency'>,
    Required<Pick<DeliveryOptions, 'gapFillLimit' | 'gapFillTimeoutMs'>> {
  readonly storage: Storage;
  readonly encryption?: EncryptionSettings;
  readonly connectionPolicy?: ConnectionPolicy;
  readonly idleTimeoutMs: number;
  /** How long a stop waits for running callbacks, in milliseconds. */
  readonly stopTimeoutMs: number;
}
