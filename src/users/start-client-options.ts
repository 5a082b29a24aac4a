import * as v from 'valibot';
import type { ClientCallback } from '../callbacks/callback.js';
import { functionOf, listOf, name, optionsOf, signal, unchecked, userId } from '../core/validation.js';
import type { ProvisionedUser } from '../provisioning/provision-user-options.js';

export interface StartClientOptions {
  readonly userId: string;
  /** Optional if the user's session is stored, by `provisionUser` or an earlier start. */
  readonly accessToken?: string | undefined;
  /** The device of `accessToken`. Looked up from the homeserver if omitted. */
  readonly deviceId?: string | undefined;
  /** Registered before the first sync, as by `addCallback`. */
  readonly callbacks?: readonly ClientCallback[] | undefined;
  /** Ends the caller's wait at once. A start that has begun goes on; a queued one only if other callers wait for it. */
  readonly signal?: AbortSignal | undefined;
}

/** Accepts the result of `provisionUser`: its `created` and `refreshToken` are ignored. */
export const startClientSchema = optionsOf<StartClientOptions & Partial<ProvisionedUser>>({
  userId,
  accessToken: v.optional(name),
  deviceId: v.optional(name),
  callbacks: v.optional(listOf(functionOf<ClientCallback>())),
  signal: v.optional(signal),
  created: unchecked(),
  refreshToken: unchecked(),
});
