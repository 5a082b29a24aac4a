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
  readonly clock: Clock;
  /** Ends it; to be fired before the client is stopped. */
  readonly signal: AbortSignal;
  /** Called after each attempt. */
  readonly onAttempt: () => void;
}

/** A set-up that failed is tried again: soon at first, then once an hour. */
const RETRIES = { baseDelayMs: 60_000, maxDelayMs: 3_600_000 };

/**
 * Sets a user's identity up until nothing is left to do, and again when the backup is gone: the application may have
 * the recovery key later, the homeserver may be in trouble, and other clients of the user do as they like.
 */
export async function keepUp({ identity, matrixClient, clock, signal, onAttempt }: UpkeepOptions): Promise<void> {
  for (let failures = 0; !signal.aborted;) {
    const isDone = await identity.setUp(signal);
    onAttempt();
    failures = isDone ? 0 : failures + 1;
    const again = isDone
      ? backupFailed(matrixClient, signal)
      : delay(clock, backoffMs(failures, RETRIES), signal, OPERATION);
    await again.catch(() => {}); // the signal
  }
}

function backupFailed(matrixClient: MatrixClient, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  matrixClient.once(CryptoEvent.KeyBackupFailed, () => resolve());
  return orAborted(promise, signal, OPERATION);
}
