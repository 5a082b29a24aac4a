import * as v from 'valibot';
import { assertCallback } from '../callbacks/callback.js';
import type { ClientCallback } from '../callbacks/callback.js';
import { name, optionsOf, signal, unchecked, userId } from '../core/call-options.js';
import type { ProvisionedUser } from '../provisioning/provision-user-options.js';

export interface StartClientOptions {
  readonly userId: string;
  /** Optional once the user is known, by `provisionUser` or an earlier start. */
  readonly accessToken?: string | undefined;
  /** Optional: the homeserver knows which device a token is for. */
  readonly deviceId?: string | undefined;
  /** Registered as by `addCallback`, before the first sync. */
  readonly callbacks?: readonly ClientCallback[] | undefined;
  /** Ends the wait at once. A start that has begun goes on, one that waits for its turn does so only for others. */
  readonly signal?: AbortSignal | undefined;
}

/** What `provisionUser` resolves with can be passed on: of that, `created` and `refreshToken` are ignored. */
export const startClientSchema = optionsOf<StartClientOptions & Partial<ProvisionedUser>>({
  userId,
  accessToken: v.optional(name),
  deviceId: v.optional(name),
  callbacks: v.optional(
    v.pipe(
      v.array(unchecked<ClientCallback>(), 'a list of functions'),
      v.check((callbacks) => {
        for (const callback of callbacks) assertCallback(callback);
        return true;
      }),
    ),
  ),
  signal: v.optional(signal),
  created: unchecked(),
  refreshToken: unchecked(),
});
