import type { EnsureUserRequest, Provisioner } from './provisioner.js';

/** A request of matrix-js-sdk's that takes the answer to an authentication; null to be asked for one. */
export type AuthenticatedRequest = (auth: Record<string, unknown> | null) => Promise<void>;

/**
 * Makes a request that the homeserver may want to know to be the user's own: with a password of the moment then.
 * Rejects as the request does where the homeserver wants something else, or there is no such password.
 * @see https://spec.matrix.org/v1.16/client-server-api/#user-interactive-authentication-api
 */
export async function withPassword(
  makeRequest: AuthenticatedRequest,
  provisioner: Provisioner | undefined,
  user: EnsureUserRequest,
): Promise<void> {
  try {
    await makeRequest(null);
  } catch (error) {
    const session = (error as { data?: { session?: unknown } }).data?.session;
    if (typeof session !== 'string') throw error;
    const password = (await provisioner?.ensureUser(user))?.password;
    if (password === undefined) throw error;
    await makeRequest({
      type: 'm.login.password',
      identifier: { type: 'm.id.user', user: user.userId },
      password,
      session,
    });
  }
}
