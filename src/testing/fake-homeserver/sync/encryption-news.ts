import type { JsonObject } from '../json.js';
import { membershipIn } from '../rooms/room-event.js';
import type { User } from '../world/user.js';
import type { World } from '../world/world.js';

/** What a sync tells a device of encryption. */
export interface EncryptionNews {
  readonly toDevice: readonly JsonObject[];
  /** Users whose keys are to be looked up again; undefined on a first sync. */
  readonly changed: readonly string[];
  readonly oneTimeKeyCounts: Readonly<Record<string, number>>;
  readonly unusedFallbackTypes: readonly string[];
}

/** @param deviceId - undefined for a token without a device, which has no keys */
export function encryptionNews(
  { deviceKeys, inboxes, rooms }: World,
  user: User,
  deviceId: string | undefined,
  since: number | undefined,
): EncryptionNews {
  const { userId } = user;
  const changed = new Set<string>();
  if (since !== undefined) {
    if (deviceKeys.changedAt(userId) > since) changed.add(userId);
    for (const signed of deviceKeys.signedAfter(userId, since)) changed.add(signed);
    for (const roomId of user.rooms.keys()) {
      const room = rooms.get(roomId);
      if (!room?.joined.has(userId)) continue;
      const joinedAt = (member: string): number => {
        const last = room.membershipsOf(member).at(-1);
        return last && membershipIn(last) === 'join' ? last.stream : 0;
      };
      const isNew = joinedAt(userId) > since;
      for (const member of room.joined) {
        const news = deviceKeys.changedAt(member) > since || isNew || joinedAt(member) > since;
        if (news && (member !== userId || deviceKeys.changedAt(member) > since)) changed.add(member);
      }
    }
  }
  return {
    toDevice: deviceId === undefined ? [] : inboxes.after(userId, deviceId, since ?? 0),
    changed: [...changed],
    oneTimeKeyCounts: deviceKeys.oneTimeKeyCounts(userId, deviceId ?? ''),
    unusedFallbackTypes: deviceKeys.unusedFallbackTypes(userId, deviceId ?? ''),
  };
}

/** The same as the sections of /sync; empty ones are left out, as Synapse does. */
export function encryptionSections(news: EncryptionNews): JsonObject {
  return {
    ...(news.toDevice.length > 0 && { to_device: { events: news.toDevice } }),
    ...(news.changed.length > 0 && { device_lists: { changed: news.changed } }),
    device_one_time_keys_count: news.oneTimeKeyCounts,
    device_unused_fallback_key_types: news.unusedFallbackTypes,
  };
}
