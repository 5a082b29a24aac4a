import type { Clock } from '../core/clock.js';
import { abortedError } from '../core/abort.js';
import { MatrixClientManagerError } from '../core/errors.js';
import { failureClass } from './failure-class.js';
import { sameOriginFetch } from './fetch.js';
import type { Fetch } from './fetch.js';
import { errorFromAnswer } from './response-error.js';
import { defaultRetryPolicy, withRetries } from './retry.js';
import type { Session } from './session.js';

export interface SdkFetchOptions {
  readonly fetch: Fetch;
  readonly clock: Clock;
  /** Whose token every authorised request carries, whatever the SDK believes it to be. */
  readonly session: Session;
  /** Ends every request of the client when it is stopped. */
  readonly signal: AbortSignal;
}

/**
 * The fetch that a user's matrix-js-sdk client gets: it sends the session's current token and renews a dead one
 * unseen, follows no redirect to another origin, and repeats failed GETs. The SDK itself makes one attempt only.
 */
export function sdkFetch(options: SdkFetchOptions): Fetch {
  const fetch = sameOriginFetch(options.fetch);
  const { session, clock, signal } = options;

  const once = async (input: string | URL | Request, init: RequestInit): Promise<Response> => {
    const headers = new Headers(init.headers);
    const authorised = headers.has('authorization');
    const { accessToken } = await session.credentials();
    if (authorised) headers.set('authorization', `Bearer ${accessToken}`);
    const signals = init.signal ? AbortSignal.any([init.signal, signal]) : signal;
    const send = (): Promise<Response> => fetch(input, { ...init, headers, signal: signals });
    const response = await send();
    if (response.status !== 401 || !authorised) return response;

    const text = await response.text();
    const error = errorFromAnswer(
      { status: 401, headers: response.headers, text },
      { operation: 'a request of the client', userId: session.userId },
    );
    if (error.code !== 'UNKNOWN_TOKEN') return new Response(text, { status: 401, headers: response.headers });
    const renewed = await session.replace(accessToken, error);
    headers.set('authorization', `Bearer ${renewed.accessToken}`);
    return send();
  };

  return async (input, init = {}) => {
    if (signal.aborted) throw abortedError('a request of a stopped client', signal.reason);
    if ((init.method ?? 'GET') !== 'GET') return once(input, init);
    let last: Response | undefined;
    const attempt = async (): Promise<Response> => {
      last = undefined;
      const response = await once(input, init).catch((error: unknown) => {
        if (signal.aborted || init.signal?.aborted || failureClass(error) !== 'permanent') throw error;
        throw new MatrixClientManagerError('NETWORK', 'a request of the client failed', { cause: error });
      });
      if (response.ok || response.status < 429) return response;
      const text = await response.text();
      last = new Response(text, { status: response.status, headers: response.headers });
      throw errorFromAnswer(
        { status: response.status, headers: response.headers, text },
        { operation: 'a request of the client', userId: session.userId },
      );
    };
    return withRetries(attempt, defaultRetryPolicy, clock, signal, 'a request of the client').catch(
      (error: unknown) => {
        if (last) return last; // the SDK reads the homeserver's own words
        throw error;
      },
    );
  };
}
