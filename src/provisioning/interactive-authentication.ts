/**
 * A request of matrix-js-sdk. `auth` is null at first; after a response with an authentication session, it is the
 * `auth` dict.
 */
export type AuthenticatedRequest = (auth: Record<string, unknown> | null) => Promise<void>;

/** How many passwords are tried. A concurrent login for the user may replace a temporary password before its use. */
const MAX_PASSWORDS = 4;

/**
 * Makes a request, and repeats it with a password if the homeserver asks for user-interactive authentication. Rejects
 * with the request's error if the homeserver asks for another stage, or there is no password.
 *
 * The request may renew the user's session, so the caller must not hold the queue that a renewal needs.
 * @param passwordFor - resolves to a password that is currently valid; undefined if there is none
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
      const { session, errcode } = responseBody(error);
      const asksForPassword = typeof session === 'string' && (auth === null || errcode === 'M_FORBIDDEN');
      if (!asksForPassword || passwords >= MAX_PASSWORDS) throw error;
      const password = await passwordFor();
      if (password === undefined) throw error;
      auth = { type: 'm.login.password', identifier: { type: 'm.id.user', user: userId }, password, session };
    }
  }
}

/** The body of the homeserver's response, from an error of matrix-js-sdk. */
function responseBody(error: unknown): { session?: unknown; errcode?: unknown } {
  const { data } = (error ?? {}) as { data?: unknown };
  return typeof data === 'object' && data !== null ? data : {};
}

/**
 * Resolves to a fixed password the first time, then to undefined: if it was refused once, another attempt would fail
 * too.
 */
export function onlyOnce(password: string | undefined): () => Promise<string | undefined> {
  let next = password;
  return async () => {
    const current = next;
    next = undefined;
    return current;
  };
}
