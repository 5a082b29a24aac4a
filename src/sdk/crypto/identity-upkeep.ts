import { ClientEvent } from 'matrix-js-sdk';
import type { MatrixClient, MatrixEvent } from 'matrix-js-sdk';
import { CryptoEvent } from 'matrix-js-sdk/lib/crypto-api/index.js';
import { delay, orAborted } from '../../core/abort.js';
import type { Clock } from '../../core/clock.js';
import { backoffMs } from '../../http/retry.js';
import type { Identity } from './identity.js';
import { OPERATION } from '../../encryption/identity/identity-failures.js';

export interface UpkeepOptions {
  readonly identity: Pick<Identity, 'setUp' | 'hasLostKeys' | 'isOtherStorage'>;
  readonly matrixClient: MatrixClient;
  /** Ends the retries. Abort it before the client is stopped. */
  readonly signal: AbortSignal;
  /** Called after each attempt. */
  readonly onAttempt: () => void;
}

/** Waits between failed set-ups: a minute at first, at most an hour. */
const RETRIES = { baseDelayMs: 60_000, maxDelayMs: 3_600_000 };
/**
 * Waits before a set-up because of a change at the homeserver. The first one gives another client the time to complete
 * what it has begun. The later ones are longer, because a homeserver can show a change in each response. After an hour
 * without a change the waits begin anew.
 */
const CHANGES = { baseDelayMs: 5_000, maxDelayMs: 3_600_000 };

/**
 * Sets a user's identity up, and retries until that succeeds: the application may get the recovery key later, and the
 * homeserver may be down. Does it again when another client of the user has replaced the identity or the secret storage,
 * and when the backup is gone.
 */
export async function maintainIdentity(clock: Clock, options: UpkeepOptions): Promise<void> {
  const { identity, signal, onAttempt } = options;
  const alarm = new Alarm(clock, signal);
  const stopListening = listenForChanges(options, () => alarm.ring());
  let [failures, changes, changedAt] = [0, 0, -Infinity];
  try {
    while (!signal.aborted) {
      const isDone = await identity.setUp(signal);
      onAttempt();
      failures = isDone ? 0 : failures + 1;
      if (!(await alarm.rings(isDone ? undefined : backoffMs(failures, RETRIES)))) continue;
      if (clock.now() - changedAt >= CHANGES.maxDelayMs) changes = 0;
      changes++;
      failures = 0;
      await alarm.sleep(backoffMs(changes, CHANGES));
      changedAt = clock.now();
    }
  } catch {
    // the signal was aborted
  } finally {
    stopListening();
  }
}

/** Calls `onChange` when the set-up may have to be repeated. Returns a function that ends it. */
function listenForChanges({ identity, matrixClient }: UpkeepOptions, onChange: () => void): () => void {
  const changeIf = (condition: Promise<boolean>): void => {
    condition.then((isChange) => isChange && onChange()).catch(() => {}); // the crypto library cannot tell; it retries
  };
  const ownUserId = matrixClient.getUserId() ?? '';
  const lookAtKeys = (): void => changeIf(identity.hasLostKeys());
  const onDevicesUpdated = (userIds: string[]): void => {
    if (userIds.includes(ownUserId)) lookAtKeys();
  };
  const onAccountData = (event: MatrixEvent): void => {
    changeIf(identity.isOtherStorage(event.getType(), event.getContent()));
  };
  matrixClient.on(CryptoEvent.KeyBackupFailed, onChange);
  matrixClient.on(CryptoEvent.KeysChanged, lookAtKeys);
  matrixClient.on(CryptoEvent.DevicesUpdated, onDevicesUpdated);
  matrixClient.on(ClientEvent.AccountData, onAccountData);
  return () => {
    matrixClient.off(CryptoEvent.KeyBackupFailed, onChange);
    matrixClient.off(CryptoEvent.KeysChanged, lookAtKeys);
    matrixClient.off(CryptoEvent.DevicesUpdated, onDevicesUpdated);
    matrixClient.off(ClientEvent.AccountData, onAccountData);
  };
}

/** A wait that ends early when it rings. It remembers that it rang while nothing waited. */
class Alarm {
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  #rang = Promise.withResolvers<boolean>();

  constructor(clock: Clock, signal: AbortSignal) {
    this.#clock = clock;
    this.#signal = signal;
  }

  ring(): void {
    this.#rang.resolve(true);
  }

  /** Resolves to whether it has rung within `waitMs`, or without a limit. Rejects when the signal is aborted. */
  async rings(waitMs: number | undefined): Promise<boolean> {
    const expired = Promise.withResolvers<boolean>();
    const timer = waitMs === undefined ? undefined : this.#clock.setTimeout(() => expired.resolve(false), waitMs);
    try {
      return await orAborted(Promise.race([this.#rang.promise, expired.promise]), this.#signal, OPERATION);
    } finally {
      if (timer !== undefined) this.#clock.clearTimeout(timer);
    }
  }

  /** Waits, and forgets that it has rung until then. */
  async sleep(waitMs: number): Promise<void> {
    await delay(this.#clock, waitMs, this.#signal, OPERATION);
    this.#rang = Promise.withResolvers();
  }
}
