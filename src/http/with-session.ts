import { orAborted, throwIfAborted } from '../core/abort.js';
import type { Credentials } from '../core/credentials.js';
import { isManagerError } from '../core/errors.js';
import type { MatrixClientManagerError } from '../core/errors.js';
import type { Session } from './session.js';

/**
 * Sends with the session's access token. If the homeserver rejects the token, sends once more with a new one.
 * @param replace - obtains the new credentials, or rejects with the error for the caller
 */
export async function withSession<T>(
  session: Session,
  { operation, signal }: { readonly operation: string; readonly signal?: AbortSignal | undefined },
  send: (accessToken: string) => Promise<T>,
  replace: (rejectedToken: string, cause: MatrixClientManagerError) => Promise<Credentials> = (rejectedToken, cause) =>
    session.replace(rejectedToken, cause),
): Promise<T> {
  throwIfAborted(signal, operation);
  const { accessToken } = session.current ?? (await orAborted(session.credentials(), signal, operation));
  try {
    return await send(accessToken);
  } catch (error) {
    if (!isManagerError(error, 'UNKNOWN_TOKEN')) throw error;
    const renewed = await orAborted(replace(accessToken, error), signal, operation);
    return send(renewed.accessToken);
  }
}
