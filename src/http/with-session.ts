import { orAborted, throwIfAborted } from '../core/abort.js';
import { isManagerError } from '../core/errors.js';
import type { MatrixClientManagerError } from '../core/errors.js';
import type { Session } from './session.js';

/**
 * Sends with the session's access token. If the homeserver rejects the token, sends once more with a new one.
 * @param send - gets the access token and, the second time, the error that rejected the first token
 */
export async function withSession<T>(
  session: Session,
  { operation, signal }: { readonly operation: string; readonly signal?: AbortSignal | undefined },
  send: (accessToken: string, rejection?: MatrixClientManagerError) => Promise<T>,
): Promise<T> {
  throwIfAborted(signal, operation);
  const { accessToken } = session.current ?? (await orAborted(session.credentials(), signal, operation));
  try {
    return await send(accessToken);
  } catch (error) {
    if (!isManagerError(error, 'UNKNOWN_TOKEN')) throw error;
    const renewed = await orAborted(session.replace(accessToken, error), signal, operation);
    return send(renewed.accessToken, error);
  }
}
