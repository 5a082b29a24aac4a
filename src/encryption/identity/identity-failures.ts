import { abortedError, orTimeout } from '../../core/abort.js';
import type { Clock, TimerHandle } from '../../core/clock.js';
import { isManagerError, MatrixClientManagerError } from '../../core/errors.js';
import { isError } from '../../core/is-error.js';
import { withoutSecrets } from '../../http/secrets.js';
import type { AuthUploadDeviceSigningKeys } from './identity-options.js';

export const OPERATION = 'setting up encryption';

/** Instead of the value, which may contain a secret. */
const NOT_AN_ERROR = 'it threw a value that is not an Error';

/** The time that a callback of the application has, in milliseconds. The user's messages wait for it. */
const CALLBACK_TIMEOUT_MS = 30_000;

/**
 * Calls a callback of the application with a timeout. Rejects with `ENCRYPTION_SETUP_FAILED`. The callback's error text
 * is quoted without `secrets`, the values that it was given.
 */
export async function callApplication<T>(
  { userId, clock }: { readonly userId: string; readonly clock: Clock },
  name: string,
  callback: () => T | Promise<T>,
  secrets: readonly string[] = [],
): Promise<T> {
  const failure = (reason: string): MatrixClientManagerError => {
    const message = `${OPERATION} of ${userId} failed: the application's ${name} ${reason}; nothing was changed`;
    return new MatrixClientManagerError('ENCRYPTION_SETUP_FAILED', message, { userId });
  };
  const call = (async () => callback())().catch((error: unknown) => {
    const text = withoutSecrets(isError(error) ? error.message : NOT_AN_ERROR, secrets);
    throw failure(`failed (${text})`);
  });
  return orTimeout(call, clock, CALLBACK_TIMEOUT_MS, () => failure(`took longer than ${CALLBACK_TIMEOUT_MS} ms`));
}

/**
 * Wraps the application's `authenticate` with a timeout for the application's own time; a request has its own deadline.
 * Rejects with `ENCRYPTION_SETUP_FAILED` on timeout, or if `authenticate` resolves without a successful request. Other
 * rejections of `authenticate` pass through.
 */
export function boundedAuthentication(
  { userId, clock }: { readonly userId: string; readonly clock: Clock },
  authenticate: AuthUploadDeviceSigningKeys,
): AuthUploadDeviceSigningKeys {
  const failure = (reason: string): MatrixClientManagerError => {
    const message = `${OPERATION} of ${userId} failed: the application's authenticate ${reason}`;
    return new MatrixClientManagerError('ENCRYPTION_SETUP_FAILED', message, { userId });
  };
  return async (makeRequest) => {
    const { promise: timedOut, reject } = Promise.withResolvers<never>();
    const tooLong = `took longer than ${CALLBACK_TIMEOUT_MS} ms`;
    let [isMade, isOver] = [false, false];
    const running = new Set<Promise<void>>();
    let timer: TimerHandle;
    const startTimer = (): void => {
      timer = clock.setTimeout(() => {
        isOver = true;
        reject(failure(tooLong));
      }, CALLBACK_TIMEOUT_MS);
    };
    const send: typeof makeRequest = async (auth) => {
      if (isOver) throw failure(tooLong); // would replace the keys after the call was reported as failed
      if (running.size === 0) clock.clearTimeout(timer);
      await makeRequest(auth);
      isMade = true;
    };
    const request: typeof makeRequest = (auth) => {
      const sent = send(auth);
      running.add(sent);
      const onSettled = (): void => {
        running.delete(sent);
        if (running.size === 0 && !isOver) startTimer();
      };
      sent.then(onSettled, onSettled); // also handles the rejection, because `authenticate` may not await the request
      return sent;
    };
    startTimer();
    try {
      await Promise.race([(async () => authenticate(request))(), timedOut]).finally(async () => {
        while (running.size > 0) await Promise.allSettled(running); // would replace the keys after the call has ended
      });
      if (!isMade) throw failure('has made no successful request');
    } finally {
      isOver = true;
      clock.clearTimeout(timer);
    }
  };
}

/** Keys are published at the homeserver, but their private part is in neither secret storage nor this device. */
export function missingSecretError(userId: string, what: string): MatrixClientManagerError {
  const message =
    `the ${what} of ${userId} cannot be restored on this device: secret storage does not hold the private part. ` +
    'Sign the device with another client of the user, or reset their identity';
  return new MatrixClientManagerError('ENCRYPTION_SETUP_FAILED', message, { userId });
}

/** Converts an error of the homeserver, the SDK or the application, of any type, to `ENCRYPTION_SETUP_FAILED`; to `ABORTED` if the client was stopped. */
export function setUpFailure(userId: string, error: unknown): MatrixClientManagerError {
  if (isManagerError(error)) return error;
  if (isError(error) && error.name === 'AbortError') return abortedError(`${OPERATION} of ${userId}`, error);
  const { errcode, httpStatus: status } = (error ?? {}) as { errcode?: string; httpStatus?: number };
  const message = `${OPERATION} of ${userId} failed: ${isError(error) ? error.message : NOT_AN_ERROR}`;
  return new MatrixClientManagerError('ENCRYPTION_SETUP_FAILED', message, { userId, errcode, status });
}
