import type { MatrixClient } from 'matrix-js-sdk';
import { CryptoEvent } from 'matrix-js-sdk/lib/crypto-api/index.js';
import { nextEventLoopTurn } from '../../core/event-loop.js';
import type { RoomKeyEvent } from '../../core/diagnostic-messages.js';
import type { Diagnostics } from '../../core/diagnostics.js';
import { countKeysToBackUp, cryptoBackend, KEYS_BACKUP } from './crypto-backend.js';
import type { CryptoBackend, RoomKey } from './crypto-backend.js';
import { isBackupGone } from './published-keys.js';

/**
 * Publishes how many room keys one device creates, receives, restores and backs up. The keys that wait for
 * the backup are counted once, when a backup is enabled. From then on the number is calculated, because the SDK reports
 * it only at times.
 */
export class RoomKeyMetrics {
  readonly #crypto: CryptoBackend;
  readonly #diagnostics: Diagnostics;
  readonly #ended: AbortSignal;
  readonly #ownKey: string;
  /** Ids of the sessions that are being imported from the backup. */
  readonly #restoring = new Set<string>();
  #waiting = 0;

  /** @param ended - aborted just before the client is stopped: requests that end with it are not counted as failed */
  constructor(matrixClient: MatrixClient, diagnostics: Diagnostics, ended: AbortSignal) {
    this.#crypto = cryptoBackend(matrixClient);
    this.#diagnostics = diagnostics;
    this.#ended = ended;
    this.#ownKey = this.#crypto.olmMachine.identityKeys.curve25519.toBase64();
    this.#watchKeys();
    this.#watchRequests();
    this.#watchBackup();
  }

  /** Takes the device's waiting keys out of the total: its next start counts them again. Idempotent. */
  close(): void {
    this.#setWaiting(0);
  }

  #watchKeys(): void {
    const crypto = this.#crypto;
    const updated = crypto.onRoomKeysUpdated.bind(crypto);
    const withheld = crypto.onRoomKeysWithheld.bind(crypto);
    crypto.onRoomKeysUpdated = (keys) => {
      for (const key of keys) this.#recordKey(key);
      return updated(keys);
    };
    crypto.onRoomKeysWithheld = (notices) => {
      this.#diagnostics.publish('roomKeys', { event: 'withheld', count: notices.length });
      return withheld(notices);
    };
  }

  #recordKey({ sessionId, senderKey }: RoomKey): void {
    const isRestored = this.#restoring.delete(sessionId);
    if (!isRestored && this.#crypto.backupManager.activeBackupVersion !== null) this.#setWaiting(this.#waiting + 1);
    const isOwn = senderKey.toBase64() === this.#ownKey;
    const event: RoomKeyEvent = isRestored ? 'restored' : isOwn ? 'made' : 'received';
    this.#diagnostics.publish('roomKeys', { event, count: 1 });
  }

  /** Watches key requests. The SDK asks only the backup for keys: requests to other devices are switched off in it. */
  #watchRequests(): void {
    const { outgoingRequestProcessor: processor, perSessionBackupDownloader: downloader } = this.#crypto;
    const make = processor.makeOutgoingRequest.bind(processor);
    processor.makeOutgoingRequest = async (request, ...more) => {
      try {
        const answer = await make(request, ...more);
        if (request.type === KEYS_BACKUP) this.#recordBackedUp(countKeys(request.body));
        return answer;
      } catch (error) {
        if (request.type === KEYS_BACKUP) this.#recordBackupFailure(error);
        throw error;
      }
    };
    const query = downloader.queryKeyBackup.bind(downloader);
    downloader.queryKeyBackup = async (...key) => {
      try {
        const found = await query(...key);
        this.#diagnostics.publish('keyRequest', { result: 'found' });
        return found;
      } catch (error) {
        const isMissing = (error as { code?: unknown }).code === 'MISSING_DECRYPTION_KEY';
        if (!this.#ended.aborted) this.#diagnostics.publish('keyRequest', { result: isMissing ? 'missing' : 'failed' });
        throw error;
      }
    };
  }

  #watchBackup(): void {
    const { backupManager } = this.#crypto;
    const restore = backupManager.importBackedUpRoomKeys.bind(backupManager);
    backupManager.importBackedUpRoomKeys = async (keys, ...more) => {
      for (const { session_id: id } of keys) this.#restoring.add(id);
      try {
        await restore(keys, ...more);
      } finally {
        await nextEventLoopTurn(); // the SDK reports imported keys in a later task
        for (const { session_id: id } of keys) this.#restoring.delete(id);
      }
    };
    backupManager.on(CryptoEvent.KeyBackupSessionsRemaining, (remaining) => this.#setWaiting(remaining));
    backupManager.on(CryptoEvent.KeyBackupStatus, (enabled) => {
      if (enabled) void this.#countWaiting();
      else this.#setWaiting(0);
    });
    if (backupManager.activeBackupVersion !== null) void this.#countWaiting();
  }

  async #countWaiting(): Promise<void> {
    try {
      this.#setWaiting(await countKeysToBackUp(this.#crypto));
    } catch {
      // the calculated number is wrong until the SDK reports the next one
    }
  }

  #recordBackedUp(count: number): void {
    this.#diagnostics.publish('roomKeys', { event: 'backed-up', count });
    this.#setWaiting(Math.max(0, this.#waiting - count));
  }

  #recordBackupFailure(error: unknown): void {
    if (this.#ended.aborted) return;
    this.#diagnostics.publish('keyBackupFailed', { reason: isBackupGone(error) ? 'gone' : 'upload' });
  }

  #setWaiting(count: number): void {
    const waiting = this.#ended.aborted ? 0 : count;
    if (waiting !== this.#waiting) this.#diagnostics.publish('keysToBackUp', { change: waiting - this.#waiting });
    this.#waiting = waiting;
  }
}

function countKeys(body: string): number {
  const { rooms } = JSON.parse(body) as { readonly rooms: Readonly<Record<string, { readonly sessions: object }>> };
  return Object.values(rooms).reduce((sum, { sessions }) => sum + Object.keys(sessions).length, 0);
}
