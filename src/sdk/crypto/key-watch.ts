import type { MatrixClient } from 'matrix-js-sdk';
import { CryptoEvent } from 'matrix-js-sdk/lib/crypto-api/index.js';
import { nextEventLoopTurn } from '../../core/event-loop.js';
import type { RoomKeyEvent, Telemetry } from '../../core/telemetry.js';
import { isBackupGone } from './published-keys.js';

interface RoomKey {
  readonly sessionId: string;
  readonly senderKey: { toBase64(): string };
}

interface OutgoingRequest {
  readonly type: number;
  readonly body: string;
}

/** What is watched of matrix-js-sdk's RustCrypto. */
interface CryptoInside {
  readonly olmMachine: {
    readonly identityKeys: { readonly curve25519: { toBase64(): string } };
    roomKeyCounts(): Promise<{ readonly total: number; readonly backedUp: number; free(): void }>;
  };
  readonly outgoingRequestProcessor: { makeOutgoingRequest(request: OutgoingRequest, ...more: unknown[]): unknown };
  readonly perSessionBackupDownloader: { queryKeyBackup(...key: unknown[]): Promise<unknown> };
  readonly backupManager: {
    readonly activeBackupVersion: string | null;
    importBackedUpRoomKeys(keys: readonly { session_id: string }[], ...more: unknown[]): Promise<void>;
    on(event: CryptoEvent.KeyBackupStatus, listener: (enabled: boolean) => void): void;
    on(event: CryptoEvent.KeyBackupSessionsRemaining, listener: (remaining: number) => void): void;
  };
  onRoomKeysUpdated(keys: readonly RoomKey[]): Promise<void>;
  onRoomKeysWithheld(notices: readonly object[]): Promise<void>;
}

/** `RequestType.KeysBackup` of the SDK's WebAssembly. */
const KEYS_BACKUP = 6;

/**
 * Tells the telemetry what becomes of one device's room keys. The keys that wait for the backup are counted once, when
 * the SDK begins with one, and reckoned from then on: the SDK tells their number only now and then.
 */
export class KeyWatch {
  readonly #crypto: CryptoInside;
  readonly #telemetry: Telemetry;
  readonly #ended: AbortSignal;
  readonly #ownKey: string;
  /** Ids of the sessions that are being read from the backup. */
  readonly #restoring = new Set<string>();
  #waiting = 0;

  /** @param ended - fires when the client is about to be stopped, which is no failure of a request */
  constructor(matrixClient: MatrixClient, telemetry: Telemetry, ended: AbortSignal) {
    this.#crypto = matrixClient.getCrypto() as unknown as CryptoInside;
    this.#telemetry = telemetry;
    this.#ended = ended;
    this.#ownKey = this.#crypto.olmMachine.identityKeys.curve25519.toBase64();
    this.#watchKeys();
    this.#watchRequests();
    this.#watchBackup();
  }

  /** What waits of a device that is closed waits for its next start. Idempotent. */
  close(): void {
    this.#setWaiting(0);
  }

  #watchKeys(): void {
    const crypto = this.#crypto;
    const updated = crypto.onRoomKeysUpdated.bind(crypto);
    const withheld = crypto.onRoomKeysWithheld.bind(crypto);
    crypto.onRoomKeysUpdated = (keys) => {
      for (const key of keys) this.#note(key);
      return updated(keys);
    };
    crypto.onRoomKeysWithheld = (notices) => {
      this.#telemetry.roomKeys('withheld', notices.length);
      return withheld(notices);
    };
  }

  #note({ sessionId, senderKey }: RoomKey): void {
    const isRestored = this.#restoring.delete(sessionId);
    if (!isRestored && this.#crypto.backupManager.activeBackupVersion !== null) this.#setWaiting(this.#waiting + 1);
    const isOwn = senderKey.toBase64() === this.#ownKey;
    const event: RoomKeyEvent = isRestored ? 'restored' : isOwn ? 'made' : 'received';
    this.#telemetry.roomKeys(event, 1);
  }

  /** The SDK has switched off that keys are asked of other devices: what it asks is the backup. */
  #watchRequests(): void {
    const { outgoingRequestProcessor: processor, perSessionBackupDownloader: downloader } = this.#crypto;
    const make = processor.makeOutgoingRequest.bind(processor);
    processor.makeOutgoingRequest = async (request, ...more) => {
      try {
        const answer = await make(request, ...more);
        if (request.type === KEYS_BACKUP) this.#stored(keysIn(request.body));
        return answer;
      } catch (error) {
        if (request.type === KEYS_BACKUP) this.#notStored(error);
        throw error;
      }
    };
    const query = downloader.queryKeyBackup.bind(downloader);
    downloader.queryKeyBackup = async (...key) => {
      try {
        const found = await query(...key);
        this.#telemetry.keyRequest('found');
        return found;
      } catch (error) {
        const isMissing = (error as { code?: unknown }).code === 'MISSING_DECRYPTION_KEY';
        if (!this.#ended.aborted) this.#telemetry.keyRequest(isMissing ? 'missing' : 'failed');
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
        await nextEventLoopTurn(); // that they have come is told in a task of its own
        for (const { session_id: id } of keys) this.#restoring.delete(id);
      }
    };
    backupManager.on(CryptoEvent.KeyBackupSessionsRemaining, (remaining) => this.#setWaiting(remaining));
    backupManager.on(CryptoEvent.KeyBackupStatus, (enabled) => {
      if (enabled) void this.#count();
      else this.#setWaiting(0);
    });
    if (backupManager.activeBackupVersion !== null) void this.#count();
  }

  async #count(): Promise<void> {
    try {
      const counts = await this.#crypto.olmMachine.roomKeyCounts();
      this.#setWaiting(counts.total - counts.backedUp);
      counts.free();
    } catch {
      // the number is then one from here on, and right again when the SDK is through
    }
  }

  #stored(count: number): void {
    this.#telemetry.roomKeys('backed-up', count);
    this.#setWaiting(Math.max(0, this.#waiting - count));
  }

  #notStored(error: unknown): void {
    if (this.#ended.aborted) return;
    this.#telemetry.keyBackupFailed(isBackupGone(error) ? 'gone' : 'upload');
  }

  #setWaiting(count: number): void {
    const waiting = this.#ended.aborted ? 0 : count;
    if (waiting !== this.#waiting) this.#telemetry.keysToBackUp(waiting - this.#waiting);
    this.#waiting = waiting;
  }
}

function keysIn(body: string): number {
  const { rooms } = JSON.parse(body) as { readonly rooms: Readonly<Record<string, { readonly sessions: object }>> };
  return Object.values(rooms).reduce((sum, { sessions }) => sum + Object.keys(sessions).length, 0);
}
