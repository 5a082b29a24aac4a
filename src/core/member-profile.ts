import { mxcUri } from './mxc-uri.js';
import { isObject } from './raw-event.js';
import type { EventContent } from './raw-event.js';

/** What the members of a room see of one of them. */
export interface MemberProfile {
  readonly displayName?: string;
  /** An `mxc://` URI. */
  readonly avatarUrl?: string;
}

/** Returns the profile of a member of a room; undefined if it is not known. */
export type MemberOf = (userId: string) => MemberProfile | undefined;

/** Reads the content of a member event, in which anything may be of a wrong type. */
export function readMemberProfile({ displayname, avatar_url: avatar }: EventContent): MemberProfile {
  const avatarUrl = mxcUri(avatar);
  return {
    ...(typeof displayname === 'string' && displayname !== '' && { displayName: displayname }),
    ...(avatarUrl !== undefined && { avatarUrl }),
  };
}

/** The profiles in a list of state events, by user id. */
export function memberProfiles(state: Iterable<unknown>): Map<string, MemberProfile> {
  const profiles = new Map<string, MemberProfile>();
  for (const event of state) {
    if (!isObject(event) || event.type !== 'm.room.member' || typeof event.state_key !== 'string') continue;
    if (isObject(event.content)) profiles.set(event.state_key, readMemberProfile(event.content));
  }
  return profiles;
}
