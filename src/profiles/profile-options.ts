import * as v from 'valibot';
import type { CallOptions } from '../core/call-options.js';
import { parseMxcUri } from '../core/mxc-uri.js';
import { checkedAs, durationMs, optionsOf, shown, signal, text, userId } from '../core/validation.js';

/** What other users see of a user. */
export interface Profile {
  readonly userId: string;
  /** Undefined if the user has none. */
  readonly displayName: string | undefined;
  /** The `mxc://` URI of the avatar; undefined if the user has none. */
  readonly avatarUrl: string | undefined;
}

export interface GetProfileOptions extends CallOptions {
  /** The user who asks. */
  readonly userId: string;
  /** The user whose profile is read, on any homeserver. @default `userId` */
  readonly targetUserId?: string | undefined;
  /** A profile that was read longer ago is read again, in milliseconds; 0 always asks the homeserver. @default 300_000 */
  readonly maxAgeMs?: number | undefined;
}

export const getProfileSchema = optionsOf<GetProfileOptions>({
  userId,
  targetUserId: v.optional(userId),
  maxAgeMs: v.optional(durationMs(0)),
  signal: v.optional(signal),
});

export interface SetDisplayNameOptions extends CallOptions {
  readonly userId: string;
  /** The new name; an empty one removes it. Synapse refuses more than 256 characters. */
  readonly displayName: string;
}

export const setDisplayNameSchema = optionsOf<SetDisplayNameOptions>({
  userId,
  displayName: text,
  signal: v.optional(signal),
});

export interface SetAvatarOptions extends CallOptions {
  readonly userId: string;
  /** The `mxc://` URI of an uploaded image, such as the `contentUri` of `uploadFile()`; `null` removes the avatar. */
  readonly avatarUrl: string | null;
}

const mxcUriOrNull = checkedAs<string | null>(
  'an mxc:// URI, or null for no avatar',
  (value) => value === null || (typeof value === 'string' && parseMxcUri(value) !== undefined),
  shown,
);

export const setAvatarSchema = optionsOf<SetAvatarOptions>({
  userId,
  avatarUrl: mxcUriOrNull,
  signal: v.optional(signal),
});
