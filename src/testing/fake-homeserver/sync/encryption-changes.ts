import type { JsonObject } from '../json.js';
import type { DeviceInboxes } from '../world/device-inboxes.js';
import type { DeviceListChanges } from './device-list-changes.js';
import { deviceListChanges } from './device-list-changes.js';
import type { SyncContext } from './sync-context.js';

/** The changes for a device's encryption in a sync. */
export interface EncryptionChanges {
  readonly toDevice: ReturnType<DeviceInboxes['after']>;
  readonly deviceLists: DeviceListChanges;
  readonly oneTimeKeyCounts: Readonly<Record<string, number>>;
  readonly unusedFallbackTypes: readonly string[];
}

export function encryptionChanges({ world, user, deviceId, since, toDeviceSince }: SyncContext): EncryptionChanges {
  const { deviceKeys, inboxes } = world;
  const { userId } = user;
  return {
    toDevice: deviceId === undefined ? { events: [] } : inboxes.after(userId, deviceId, toDeviceSince),
    deviceLists: since === undefined ? { changed: [], left: [] } : deviceListChanges(world, user, since),
    oneTimeKeyCounts: deviceKeys.oneTimeKeyCounts(userId, deviceId ?? ''),
    unusedFallbackTypes: deviceKeys.unusedFallbackTypes(userId, deviceId ?? ''),
  };
}

/** Whether the changes end a long poll. */
export function hasEncryptionChanges({ toDevice, deviceLists: { changed, left } }: EncryptionChanges): boolean {
  return toDevice.events.length > 0 || changed.length > 0 || left.length > 0;
}

/** The changes as sections of /sync. Empty sections are left out, as in Synapse. */
export function encryptionSections(changes: EncryptionChanges): JsonObject {
  const { toDevice, deviceLists } = changes;
  const changedLists = Object.entries(deviceLists).filter(([, userIds]) => userIds.length > 0);
  return {
    ...(toDevice.events.length > 0 && { to_device: { events: toDevice.events } }),
    ...(changedLists.length > 0 && { device_lists: Object.fromEntries(changedLists) }),
    device_one_time_keys_count: changes.oneTimeKeyCounts,
    device_unused_fallback_key_types: changes.unusedFallbackTypes,
  };
}
