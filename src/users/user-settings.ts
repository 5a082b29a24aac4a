import type { DeliveryOptions } from '../delivery/delivery.js';
import type { EncryptedRooms } from '../encryption/encrypted-rooms.js';
import type { EncryptionSettings } from '../encryption/encryption-options.js';
import type { SyncSettings } from '../sync/sync-context.js';
import type { Storage } from '../storage/storage.js';
import type { ClientRegistryOptions } from './client-registry.js';
import type { IdleSchedulerOptions } from './idle-scheduler.js';

/** The manager's settings that the users' clients need. */
export interface UserSettings
  extends
    SyncSettings,
    IdleSchedulerOptions,
    Pick<ClientRegistryOptions, 'maxClients' | 'startConcurrency'>,
    Pick<DeliveryOptions, 'gapFillLimit'> {
  readonly storage: Storage;
  readonly encryptedRooms: EncryptedRooms;
  readonly encryption?: EncryptionSettings;
  /** How long a stop waits for running callbacks, in milliseconds. */
  readonly stopTimeoutMs: number;
}
