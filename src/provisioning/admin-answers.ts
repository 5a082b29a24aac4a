import * as v from 'valibot';

/** A value that is absent or has another type is read as undefined. */
const optionalText = v.fallback(v.nullish(v.string()), undefined);
const optionalNumber = v.fallback(v.nullish(v.number()), undefined);
/** A homeserver on SQLite sends 0 and 1 in places. Another type is an error, so that permissions are not guessed. */
const booleanOrNumber = v.nullish(v.union([v.boolean(), v.number()]));
export const userSchema = v.object({
  name: v.string(),
  displayname: optionalText,
  avatar_url: optionalText,
  admin: booleanOrNumber,
  deactivated: booleanOrNumber,
  locked: booleanOrNumber,
  creation_ts: optionalNumber,
});
export const usersSchema = v.object({
  users: v.array(v.unknown()),
  total: optionalNumber,
  next_token: v.nullish(v.union([v.string(), v.number()])),
});
export const deviceSchema = v.object({
  device_id: v.string(),
  display_name: optionalText,
  last_seen_ts: optionalNumber,
  last_seen_ip: optionalText,
});
export const devicesSchema = v.object({ devices: v.array(v.unknown()) });
