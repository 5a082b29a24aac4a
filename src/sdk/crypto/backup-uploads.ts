import { randomInt } from 'node:crypto';
import { CryptoEvent } from 'matrix-js-sdk/lib/crypto-api/index.js';
import { safeGetRetryAfterMs } from 'matrix-js-sdk/lib/http-api/errors.js';
import { delay } from '../../core/abort.js';
import type { Clock } from '../../core/clock.js';
import type { Context } from '../../core/context.js';
import { backoffMs } from '../../http/retry.js';
import type { CryptoBackend } from './crypto-backend.js';
import { isBackupGone } from './published-keys.js';

export interface BackupUploadsOptions {
  readonly userId: string;
  readonly crypto: CryptoBackend;
  /** Aborted just before the client is stopped. */
  readonly ended: AbortSignal;
}

const OPERATION = 'storing keys in the backup';
const BACKOFF = { baseDelayMs: 2_000, maxDelayMs: 300_000 };

/**
 * Replaces the SDK's loop that uploads new room keys to the key backup. Like the SDK, it waits a little to upload keys
 * together. The SDK's timers outlive a stopped client, so they would keep its memory and the process alive.
 */
export function replaceBackupUploads(
  { clock, logger }: Pick<Context, 'clock' | 'logger'>,
  { userId, crypto, ended }: BackupUploadsOptions,
): void {
  const { backupManager } = crypto;
  let running = false;
  /** Whether a new key arrived after the running loop last read the keys. */
  let hasNewKeys = false;
  /** How often the backup was gone since all keys were in it. */
  const gone = { times: 0 };
  const backupKeysLoop = async (): Promise<void> => {
    hasNewKeys = true;
    if (running) return;
    running = true;
    try {
      while (hasNewKeys) {
        // Random, so that all devices that received the same key do not upload it at the same moment.
        const { maxBackupLoopStartDelayMillis: maxDelayMs } = backupManager.constructor;
        await delay(clock, randomInt(maxDelayMs + 1), ended, OPERATION);
        hasNewKeys = false;
        await uploadAll(clock, crypto, ended, gone);
      }
    } catch (error) {
      if (!ended.aborted) logger.warn({ userId, err: error }, `${OPERATION} failed; it is retried with the next key`);
    } finally {
      running = false;
    }
  };
  Object.assign(backupManager, { backupKeysLoop });
}

async function uploadAll(
  clock: Clock,
  crypto: CryptoBackend,
  ended: AbortSignal,
  gone: { times: number },
): Promise<void> {
  const { backupManager, olmMachine } = crypto;
  for (let failures = 0; !ended.aborted && backupManager.activeBackupVersion !== null;) {
    const request = await olmMachine.backupRoomKeys();
    if (!request) {
      gone.times = 0; // not after a part of the keys: all of them are uploaded again once the backup is enabled
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
        // A homeserver may show a backup and say of each upload that it is gone.
        if (gone.times++ > 0) await delay(clock, backoffMs(gone.times - 1, BACKOFF), ended, OPERATION);
        await backupManager.checkKeyBackupAndEnable(true); // another backup may have replaced the deleted one
        return;
      }
      failures++;
      await delay(clock, safeGetRetryAfterMs(error, backoffMs(failures, BACKOFF)), ended, OPERATION);
    }
  }
}
