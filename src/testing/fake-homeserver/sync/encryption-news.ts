import type { JsonObject } from '../json.js';
import type { DeviceInboxes } from '../world/device-inboxes.js';
import type { DeviceListNews } from './device-list-news.js';
import { deviceListNews } from './device-list-news.js';
import type { SyncContext } from './sync-context.js';

/** What a sync tells a device of encryption. */
export interface EncryptionNews {
  readonly toDevice: ReturnType<DeviceInboxes['after']>;
  readonly deviceLists: DeviceListNews;
  readonly oneTimeKeyCounts: Readonly<Record<string, number>>;
  readonly unusedFallbackTypes: readonly string[];
}

export function encryptionNews({ world, user, deviceId, since, toDeviceSince }: SyncContext): EncryptionNews {
  const { deviceKeys, inboxes } = world;
  const { userId } = user;
  return {
    toDevice: deviceId === undefined ? { events: [] } : inboxes.after(userId, deviceId, toDeviceSince),
    deviceLists: since === undefined ? { changed: [], left: [] } : deviceListNews(world, user, since),
    oneTimeKeyCounts: deviceKeys.oneTimeKeyCounts(userId, deviceId ?? ''),
    unusedFallbackTypes: deviceKeys.unusedFallbackTypes(userId, deviceId ?? ''),
  };
}

/** Whether there is something to end a long poll for. */
export function hasEncryptionNews({ toDevice, deviceLists: { changed, left } }: EncryptionNews): boolean {
  return toDevice.events.length > 0 || changed.length > 0 || left.length > 0;
}

/** The same as the sections of /sync; empty ones are left out, as Synapse does. */
export function encryptionSections(news: EncryptionNews): JsonObject {
  const { toDevice, deviceLists } = news;
  const told = Object.entries(deviceLists).filter(([, userIds]) => userIds.length > 0);
  return {
    ...(toDevice.events.length > 0 && { to_device: { events: toDevice.events } }),
    ...(told.length > 0 && { device_lists: Object.fromEntries(told) }),
    device_one_time_keys_count: news.oneTimeKeyCounts,
    device_unused_fallback_key_types: news.unusedFallbackTypes,
  };
}
