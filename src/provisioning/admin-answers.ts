import * as v from 'valibot';
import { optionalNumber, optionalText } from '../http/response-parts.js';

/** A homeserver on SQLite sends 0 and 1 in places. Another type is an error, so that permissions are not guessed. */
const booleanOrNumber = v.nullish(v.union([v.boolean(), v.number()]));

/** A user as returned by the Admin API. */
export interface AdminUser {
  readonly userId: string;
  readonly displayName: string | undefined;
  readonly avatarUrl: string | undefined;
  readonly admin: boolean;
  readonly deactivated: boolean;
  readonly locked: boolean;
  /** Milliseconds since the Unix epoch. */
  readonly createdAt: number | undefined;
}

export interface AdminDevice {
  readonly deviceId: string;
  readonly displayName: string | undefined;
  /** Milliseconds since the Unix epoch. */
  readonly lastSeenAt: number | undefined;
  readonly lastSeenIp: string | undefined;
}

export const userSchema = v.pipe(
  v.object({
    name: v.string(),
    displayname: optionalText,
    avatar_url: optionalText,
    admin: booleanOrNumber,
    deactivated: booleanOrNumber,
    locked: booleanOrNumber,
    creation_ts: optionalNumber,
  }),
  v.transform((user): AdminUser => ({
    userId: user.name,
    displayName: user.displayname,
    avatarUrl: user.avatar_url,
    admin: Boolean(user.admin),
    deactivated: Boolean(user.deactivated),
    locked: Boolean(user.locked),
    createdAt: user.creation_ts === undefined ? undefined : inMilliseconds(user.creation_ts),
  })),
);

/** Synapse sends milliseconds in the list and seconds for a single user. In milliseconds, 1e12 is September 2001. */
function inMilliseconds(time: number): number {
  return time < 1e12 ? time * 1000 : time;
}

export const usersSchema = v.object({
  users: v.array(v.unknown()),
  total: optionalNumber,
  next_token: v.nullish(v.union([v.string(), v.number()])),
});

export const deviceSchema = v.pipe(
  v.object({
    device_id: v.string(),
    display_name: optionalText,
    last_seen_ts: optionalNumber,
    last_seen_ip: optionalText,
  }),
  v.transform((device): AdminDevice => ({
    deviceId: device.device_id,
    displayName: device.display_name,
    lastSeenAt: device.last_seen_ts,
    lastSeenIp: device.last_seen_ip,
  })),
);

export const devicesSchema = v.object({ devices: v.array(v.unknown()) });
