/** A request of matrix-js-sdk's that takes the answer to an authentication; null to be asked for one. */
export type AuthenticatedRequest = (auth: Record<string, unknown> | null) => Promise<void>;

/** How many passwords are tried: a login on the user's behalf sets another one, which may come between. */
const MAX_PASSWORDS = 4;

/**
 * Makes a request that the homeserver may want to know to be the user's own, with a password then. Rejects as the
 * request does where the homeserver wants something else, or there is no password.
 *
 * Hold nothing that a renewal of the user's session needs: the request renews a session that has died.
 * @param passwordFor - gives a password that is valid now; undefined where there is none
 * @see https://spec.matrix.org/v1.16/client-server-api/#user-interactive-authentication-api
 */
export async function withPassword(
  makeRequest: AuthenticatedRequest,
  userId: string,
  passwordFor: () => Promise<string | undefined>,
): Promise<void> {
  let auth: Record<string, unknown> | null = null;
  for (let passwords = 0; ; passwords++) {
    try {
      return await makeRequest(auth);
    } catch (error) {
      const { session, errcode } = answerIn(error);
      const mayPass = typeof session === 'string' && (auth === null || errcode === 'M_FORBIDDEN');
      if (!mayPass || passwords >= MAX_PASSWORDS) throw error;
      const password = await passwordFor();
      if (password === undefined) throw error;
      auth = { type: 'm.login.password', identifier: { type: 'm.id.user', user: userId }, password, session };
    }
  }
}

/** The homeserver's answer in an error of matrix-js-sdk's. */
function answerIn(error: unknown): { session?: unknown; errcode?: unknown } {
  const { data } = (error ?? {}) as { data?: unknown };
  return typeof data === 'object' && data !== null ? data : {};
}

/** Gives a password that nobody changes: tried again, it would be refused again. */
export function onlyOnce(password: string | undefined): () => Promise<string | undefined> {
  let next = password;
  return async () => {
    const given = next;
    next = undefined;
    return given;
  };
}
