import { orTimeout } from '../../core/abort.js';
import type { Clock, TimerHandle } from '../../core/clock.js';
import { isManagerError, MatrixClientManagerError } from '../../core/errors.js';
import { isError } from '../../core/is-error.js';
import { withoutSecrets } from '../../http/secrets.js';
import type { AuthUploadDeviceSigningKeys } from './identity-options.js';

export const OPERATION = 'setting up encryption';

/** The time that a callback of the application has: what waits for it are the user's messages. */
const CALLBACK_TIMEOUT_MS = 30_000;

/** Waits for a callback of the application, whose own words may hold the `secrets` that it was given. */
export async function callApplication<T>(
  { userId, clock }: { readonly userId: string; readonly clock: Clock },
  name: string,
  callback: () => T | Promise<T>,
  secrets: readonly string[] = [],
): Promise<T> {
  const failure = (why: string): MatrixClientManagerError => {
    const message = `${OPERATION} of ${userId} failed: the application's ${name} ${why}; nothing was changed`;
    return new MatrixClientManagerError('ENCRYPTION_SETUP_FAILED', message, { userId });
  };
  const call = (async () => callback())().catch((error: unknown) => {
    const said = withoutSecrets(isError(error) ? error.message : 'it threw what is no error', secrets);
    throw failure(`did (${said})`);
  });
  return orTimeout(call, clock, CALLBACK_TIMEOUT_MS, () => failure(`took longer than ${CALLBACK_TIMEOUT_MS} ms`));
}

/**
 * The application's `authenticate` with a bound on the time that it takes itself; what the homeserver takes is bounded
 * by the request. Rejects with `ENCRYPTION_SETUP_FAILED` after that time, or where the application resolves without
 * having made the request; with what it rejects with otherwise.
 */
export function boundedAuthentication(
  { userId, clock }: { readonly userId: string; readonly clock: Clock },
  authenticate: AuthUploadDeviceSigningKeys,
): AuthUploadDeviceSigningKeys {
  const failure = (why: string): MatrixClientManagerError => {
    const message = `${OPERATION} of ${userId} failed: the application's authenticate ${why}`;
    return new MatrixClientManagerError('ENCRYPTION_SETUP_FAILED', message, { userId });
  };
  return async (makeRequest) => {
    const { promise: late, reject } = Promise.withResolvers<never>();
    const tooLong = `took longer than ${CALLBACK_TIMEOUT_MS} ms`;
    let [isMade, isOver, requests] = [false, false, 0];
    let timer: TimerHandle;
    const count = (): void => {
      timer = clock.setTimeout(() => {
        isOver = true;
        reject(failure(tooLong));
      }, CALLBACK_TIMEOUT_MS);
    };
    const request: typeof makeRequest = async (auth) => {
      if (isOver) throw failure(tooLong); // the keys would be replaced after the call has failed
      if (requests++ === 0) clock.clearTimeout(timer);
      try {
        await makeRequest(auth);
        isMade = true;
      } finally {
        if (--requests === 0 && !isOver) count();
      }
    };
    count();
    try {
      await Promise.race([(async () => authenticate(request))(), late]);
      if (!isMade) throw failure('has not made the request');
    } finally {
      isOver = true;
      clock.clearTimeout(timer);
    }
  };
}

/** Something is at the homeserver, and the key to it nowhere. */
export function lostError(userId: string, what: string): MatrixClientManagerError {
  const message =
    `the ${what} of ${userId} cannot be had on this device: secret storage does not hold it. ` +
    'Sign the device with another client of the user, or reset their identity';
  return new MatrixClientManagerError('ENCRYPTION_SETUP_FAILED', message, { userId });
}

/** What the homeserver or the SDK fails with, as an error of ours. */
export function setUpFailure(userId: string, error: unknown): MatrixClientManagerError {
  if (isManagerError(error)) return error;
  const { errcode, httpStatus: status } = error as { errcode?: string; httpStatus?: number };
  const message = `${OPERATION} of ${userId} failed: ${isError(error) ? error.message : String(error)}`;
  return new MatrixClientManagerError('ENCRYPTION_SETUP_FAILED', message, { userId, errcode, status });
}
