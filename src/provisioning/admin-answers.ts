import * as v from 'valibot';

/** What is not there, or is of another type, is unknown. */
const optionalText = v.fallback(v.nullish(v.string()), undefined);
const optionalNumber = v.fallback(v.nullish(v.number()), undefined);
/** SQLite homeservers say 0 and 1 in places. */
const saidFlag = v.nullish(v.union([v.boolean(), v.number()]));
export const userSchema = v.object({
  name: v.string(),
  displayname: optionalText,
  avatar_url: optionalText,
  // What a user may do is not guessed.
  admin: saidFlag,
  deactivated: saidFlag,
  locked: saidFlag,
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
