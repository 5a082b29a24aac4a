import * as v from 'valibot';
import { flag, name, optionsOf, signal, text, unchecked } from '../core/validation.js';
import type { Credentials } from '../core/credentials.js';

export interface ProvisionUserOptions {
  /** The localpart of the user id, in the grammar of the specification. */
  readonly username: string;
  /** Display name. Set on a new account, and on an existing one that needs a new login. */
  readonly displayName?: string | undefined;
  /** Whether a new account is a homeserver admin. @default false */
  readonly admin?: boolean | undefined;
  /** The device to log in on. @default the stored device, else a new one chosen by the homeserver */
  readonly deviceId?: string | undefined;
  /** Display name of the device, if the login makes a new one; other users see it. @default the option deviceName */
  readonly deviceName?: string | undefined;
  /** Map an invalid username to a valid one instead of rejecting it. @default false */
  readonly normalizeUsername?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

export const provisionUserSchema = optionsOf<ProvisionUserOptions>({
  username: unchecked(), // newUserId() checks it; its error states the violated rule
  displayName: v.optional(text),
  admin: v.optional(flag),
  deviceId: v.optional(name),
  deviceName: v.optional(name),
  normalizeUsername: v.optional(flag),
  signal: v.optional(signal),
});

export interface ProvisionedUser extends Credentials {
  /** Whether this call made the account. */
  readonly created: boolean;
}
