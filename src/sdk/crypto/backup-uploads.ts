import { randomInt } from 'node:crypto';
import { CryptoEvent } from 'matrix-js-sdk/lib/crypto-api/index.js';
import { safeGetRetryAfterMs } from 'matrix-js-sdk/lib/http-api/errors.js';
import { delay } from '../../core/abort.js';
import type { Clock } from '../../core/clock.js';
import type { Logger } from '../../core/logger.js';
import { backoffMs } from '../../http/retry.js';
import type { CryptoBackend } from './crypto-backend.js';
import { isBackupGone } from './published-keys.js';

export interface BackupUploadsOptions {
  readonly userId: string;
  readonly crypto: CryptoBackend;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Fires when the client is about to be stopped. */
  readonly ended: AbortSignal;
}

const OPERATION = 'storing keys in the backup';
const BACKOFF = { baseDelayMs: 2_000, maxDelayMs: 300_000 };

/**
 * Stores new keys in the key backup as the SDK does, a little later and together. The SDK's own waits, of up to ten
 * seconds before and longer after a failure, outlive the client, and with them its memory and the process.
 */
export function uploadKeysUntilEnd(options: BackupUploadsOptions): void {
  const { userId, crypto, clock, logger, ended } = options;
  const { backupManager } = crypto;
  let running = false;
  /** Whether a key has come that a running loop may have missed. */
  let isDue = false;
  const backupKeysLoop = async (): Promise<void> => {
    isDue = true;
    if (running) return;
    running = true;
    try {
      while (isDue) {
        // At random, so that the devices that have got a new key do not store it all at once.
        const { maxBackupLoopStartDelayMillis: maxDelayMs } = backupManager.constructor;
        await delay(clock, randomInt(maxDelayMs + 1), ended, OPERATION);
        isDue = false;
        await uploadAll(options);
      }
    } catch (error) {
      if (!ended.aborted) logger.warn({ userId, err: error }, `${OPERATION} failed; it goes on with the next key`);
    } finally {
      running = false;
    }
  };
  Object.assign(backupManager, { backupKeysLoop });
}

async function uploadAll({ crypto, clock, ended }: BackupUploadsOptions): Promise<void> {
  const { backupManager, olmMachine } = crypto;
  for (let failures = 0; !ended.aborted && backupManager.activeBackupVersion !== null;) {
    const request = await olmMachine.backupRoomKeys();
    if (!request) {
      backupManager.emit(CryptoEvent.KeyBackupSessionsRemaining, 0);
      return;
    }
    try {
      await crypto.outgoingRequestProcessor.makeOutgoingRequest(request);
      failures = 0;
    } catch (error) {
      if (isBackupGone(error)) {
        await backupManager.disableKeyBackup();
        backupManager.emit(CryptoEvent.KeyBackupFailed, (error as { errcode?: unknown }).errcode);
        await backupManager.checkKeyBackupAndEnable(true); // another one may have taken its place
        return;
      }
      failures++;
      await delay(clock, safeGetRetryAfterMs(error, backoffMs(failures, BACKOFF)), ended, OPERATION);
    }
  }
}
