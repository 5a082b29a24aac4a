import * as v from 'valibot';
import { flag, name, optionsOf, signal, text, unchecked } from '../core/call-options.js';
import type { Credentials } from '../core/credentials.js';

export interface ProvisionUserOptions {
  /** The localpart of the user id, in the specification's grammar. */
  readonly username: string;
  /** Set on a new account, and on an existing one that has to be logged in anew. */
  readonly displayName?: string | undefined;
  /** Whether a new account is a homeserver admin. @default false */
  readonly admin?: boolean | undefined;
  /** The device to log in on. @default the device known already, else a new one of the homeserver's choice */
  readonly deviceId?: string | undefined;
  /** What the device is called where others see it, if the login makes a new one. @default the option deviceName */
  readonly deviceName?: string | undefined;
  /** Map a name that breaks the grammar to one that does not, instead of rejecting it. @default false */
  readonly normalizeUsername?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

export const provisionUserSchema = optionsOf<ProvisionUserOptions>({
  username: unchecked(), // by newUserId(), which names the rule
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
