import * as v from 'valibot';
import { runAllSteps } from '../core/run-all-steps.js';
import { isManagerError } from '../core/errors.js';
import { flag, optionsOf } from '../core/validation.js';
import type { CallbackRegistry } from '../callbacks/callback-registry.js';
import type { Logger } from '../core/logger.js';
import type { Outbox } from '../sending/outbox.js';
import type { Profiles } from '../profiles/profiles.js';
import type { Accounts } from '../provisioning/accounts.js';
import type { Encryption } from '../users/encryption.js';
import type { UserSessions } from '../users/user-sessions.js';

export interface ForgetUserOptions {
  /**
   * Whether to log the session out, which removes its device at the homeserver. This needs a provisioner. A failed
   * logout is logged. @default true
   */
  readonly logOut?: boolean | undefined;
}

export const forgetUserSchema = optionsOf<ForgetUserOptions>({
  logOut: v.optional(flag),
});

export interface ForgetUserParts {
  readonly accounts: Accounts;
  readonly callbacks: CallbackRegistry;
  readonly encryption: Encryption | undefined;
  readonly logger: Logger;
  readonly outbox: Outbox;
  readonly profiles: Profiles;
  readonly users: UserSessions;
}

/**
 * Stops the user's client and deletes everything stored about the user: session, callbacks, keys, position, dead
 * letters, queued sends. A failed step does not prevent the others; the call may be repeated.
 */
export async function forgetUser(parts: ForgetUserParts, userId: string, logOut: boolean): Promise<void> {
  const { accounts, callbacks, encryption, logger, outbox, profiles, users } = parts;
  const deleteStoredData = (): Promise<void> => accounts.deleteStoredData(userId);
  try {
    await runAllSteps(
      [
        () => users.stop(userId),
        () => accounts.deleteCredentials(userId, logOut),
        // Stops a client that was started meanwhile. Without credentials no further one can start.
        () => users.stop(userId),
        () => users.registry.deleteActivityHistory(userId),
        () => callbacks.forget(userId),
        () => outbox.abortSendsOf(userId),
        () => profiles.forget(userId),
        () => encryption?.deleteKeys(userId),
        deleteStoredData,
      ],
      `forgetting ${userId}`,
    );
  } catch (error) {
    if (error instanceof AggregateError) {
      for (const err of error.errors as unknown[]) logger.error({ userId, err }, 'forgetting a user failed');
      throw (error.errors as unknown[]).find((each) => isManagerError(each)) ?? error;
    }
    throw error;
  } finally {
    // If a callback of the user made this call, the stop ends later and may store a position; delete it then.
    users.repeatAfterDeferredStop(userId, deleteStoredData);
  }
}
