import type { MatrixClient } from 'matrix-js-sdk';
import { CryptoEvent } from 'matrix-js-sdk/lib/crypto-api/index.js';
import { delay, orAborted } from '../../core/abort.js';
import type { Clock } from '../../core/clock.js';
import { backoffMs } from '../../http/retry.js';
import type { Identity } from './identity.js';
import { OPERATION } from '../../encryption/identity/identity-failures.js';

export interface UpkeepOptions {
  readonly identity: Pick<Identity, 'setUp'>;
  readonly matrixClient: MatrixClient;
  /** Ends the retries. Abort it before the client is stopped. */
  readonly signal: AbortSignal;
  /** Called after each attempt. */
  readonly onAttempt: () => void;
}

/** Waits between failed set-ups: a minute at first, at most an hour. */
const RETRIES = { baseDelayMs: 60_000, maxDelayMs: 3_600_000 };

/**
 * Retries the set-up of a user's identity until it succeeds: the application may get the recovery key later, and the
 * homeserver may be down. Starts again when the backup is gone, because another client of the user may delete it.
 */
export async function maintainIdentity(
  clock: Clock,
  { identity, matrixClient, signal, onAttempt }: UpkeepOptions,
): Promise<void> {
  for (let failures = 0; !signal.aborted;) {
    const isDone = await identity.setUp(signal);
    onAttempt();
    failures = isDone ? 0 : failures + 1;
    const nextAttempt = isDone
      ? backupFailed(matrixClient, signal)
      : delay(clock, backoffMs(failures, RETRIES), signal, OPERATION);
    await nextAttempt.catch(() => {}); // rejects when the signal is aborted, which ends the loop
  }
}

function backupFailed(matrixClient: MatrixClient, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  matrixClient.once(CryptoEvent.KeyBackupFailed, () => resolve());
  return orAborted(promise, signal, OPERATION);
}
