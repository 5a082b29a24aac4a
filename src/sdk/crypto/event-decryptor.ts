import { MatrixEvent, MatrixEventEvent } from 'matrix-js-sdk';
import type { MatrixClient } from 'matrix-js-sdk';
import { DecryptionFailureCode } from 'matrix-js-sdk/lib/crypto-api/index.js';
import { orAborted } from '../../core/abort.js';
import type { Clock } from '../../core/clock.js';
import { decryption } from '../../core/decryption.js';
import type { DecryptionFailureReason } from '../../core/decryption.js';
import { isDeeperThan, MAX_EVENT_DEPTH } from '../../core/json-depth.js';
import { isObject, isRawEvent } from '../../core/raw-event.js';
import type { RawEvent } from '../../core/raw-event.js';
import { cryptoBackend } from './crypto-backend.js';
import type { DecryptionChecks } from './decryption-checks.js';

type Backend = Parameters<MatrixEvent['attemptDecryption']>[0];

const reasons: Readonly<Partial<Record<DecryptionFailureCode, DecryptionFailureReason>>> = {
  [DecryptionFailureCode.MEGOLM_UNKNOWN_INBOUND_SESSION_ID]: 'missing-key',
  [DecryptionFailureCode.OLM_UNKNOWN_MESSAGE_INDEX]: 'missing-key',
  [DecryptionFailureCode.MEGOLM_KEY_WITHHELD]: 'withheld',
  [DecryptionFailureCode.MEGOLM_KEY_WITHHELD_FOR_UNVERIFIED_DEVICE]: 'withheld',
  [DecryptionFailureCode.HISTORICAL_MESSAGE_NO_KEY_BACKUP]: 'before-device',
  [DecryptionFailureCode.HISTORICAL_MESSAGE_BACKUP_UNCONFIGURED]: 'before-device',
  [DecryptionFailureCode.HISTORICAL_MESSAGE_WORKING_BACKUP]: 'before-device',
  [DecryptionFailureCode.HISTORICAL_MESSAGE_USER_NOT_JOINED]: 'not-joined',
  [DecryptionFailureCode.SENDER_IDENTITY_PREVIOUSLY_VERIFIED]: 'untrusted-sender',
  [DecryptionFailureCode.UNKNOWN_SENDER_DEVICE]: 'untrusted-sender',
  [DecryptionFailureCode.UNSIGNED_SENDER_DEVICE]: 'untrusted-sender',
};
/** Failures that end when the key arrives. `before-device` is one: the clocks of device and homeserver may differ. */
const endsWithKey: ReadonlySet<DecryptionFailureReason> = new Set(['missing-key', 'before-device']);
/** Failures that end when the key is found in the backup. */
const endsWithBackupKey: ReadonlySet<DecryptionFailureReason> = new Set([...endsWithKey, 'withheld']);

/** Types that the homeserver authorizes and that are never sent encrypted. An encrypted one is forged. */
const authorizedTypes: ReadonlySet<string> = new Set(['m.room.redaction', 'm.room.create']);

/** How long a withheld key is searched for in the backup, in milliseconds: another device may have received it. */
const BACKUP_SEARCH_MS = 5_000;

/** How long to wait for a missing key. */
export interface KeyWait {
  /** Milliseconds since the Unix epoch. */
  readonly until: number;
  readonly signal: AbortSignal;
}

/** Decrypts raw events of the homeserver, without the SDK's timelines. */
export class EventDecryptor {
  readonly #matrixClient: MatrixClient;
  readonly #clock: Clock;
  readonly #ended: AbortSignal;
  readonly #checks: Pick<DecryptionChecks, 'refusalOf' | 'resultOf'>;
  readonly #decrypted = new WeakMap<RawEvent, RawEvent>();
  /** Ids of sessions whose keys were withheld and were not found in the backup. */
  readonly #withheld = new Set<string>();

  /** @param ended - aborted when calls of the SDK may no longer settle */
  constructor(
    matrixClient: MatrixClient,
    clock: Clock,
    ended: AbortSignal,
    checks: Pick<DecryptionChecks, 'refusalOf' | 'resultOf'>,
  ) {
    this.#checks = checks;
    this.#matrixClient = matrixClient;
    this.#clock = clock;
    this.#ended = ended;
  }

  /**
   * Returns the event with its decrypted type and content, or marked with the reason why it cannot be decrypted. An
   * event that is not encrypted, or was redacted, is returned unchanged. Rejects with `ABORTED` on abort.
   */
  async decrypt(roomId: string, raw: RawEvent, wait?: KeyWait): Promise<RawEvent> {
    const known = this.#decrypted.get(raw);
    if (known) return known;
    if (isDeeperThan(raw, MAX_EVENT_DEPTH)) return isCiphertext(raw) ? failed(raw, 'unreadable') : raw;
    const event = await this.#decryptBundledEdit(roomId, raw);
    if (!isCiphertext(event)) return event;
    const matrixEvent = new MatrixEvent({ ...event, room_id: roomId });
    try {
      let reason = await this.#tryToDecrypt(matrixEvent);
      if (reason !== undefined && wait && endsWithKey.has(reason)) reason = await this.#waitForKey(matrixEvent, wait);
      if (reason === 'withheld' && wait) reason = await this.#waitForBackupKey(matrixEvent, wait);
      if (reason === undefined && authorizedTypes.has(matrixEvent.getType())) reason = 'unreadable';
      const result = this.#checks.resultOf(matrixEvent);
      if (reason !== undefined || !result) return failed(event, reason ?? 'unreadable');
      const { type, content } = { type: matrixEvent.getType(), content: matrixEvent.getClearContent() ?? {} };
      const decrypted = { ...event, type, content, [decryption]: result };
      this.#decrypted.set(raw, decrypted);
      return decrypted;
    } finally {
      this.#backend.eventDecryptor.removeEventFromPendingList(matrixEvent);
    }
  }

  get #backend(): ReturnType<typeof cryptoBackend> {
    return cryptoBackend(this.#matrixClient);
  }

  /** Tries to decrypt the event. Returns the reason of a failure, or undefined after success. */
  async #tryToDecrypt(event: MatrixEvent): Promise<DecryptionFailureReason | undefined> {
    const attempt = event.attemptDecryption(this.#backend as unknown as Backend);
    await orAborted(attempt, this.#ended, 'decrypting an event');
    return this.#reasonOf(event);
  }

  #reasonOf(event: MatrixEvent): DecryptionFailureReason | undefined {
    const code = event.decryptionFailureReason;
    return code === null ? undefined : (this.#checks.refusalOf(event) ?? reasons[code] ?? 'unreadable');
  }

  /** Waits until the event is decrypted or fails for another reason. The SDK retries when the key arrives. */
  #waitForKey(
    event: MatrixEvent,
    { until, signal }: KeyWait,
    retryable = endsWithKey,
  ): Promise<DecryptionFailureReason | undefined> {
    const ended = AbortSignal.any([signal, this.#ended]);
    const { promise, resolve } = Promise.withResolvers<DecryptionFailureReason | undefined>();
    const checkResult = (): void => {
      const reason = this.#reasonOf(event);
      if (reason === undefined || !retryable.has(reason)) resolve(reason);
    };
    event.on(MatrixEventEvent.Decrypted, checkResult);
    checkResult(); // the key may have arrived during the first attempt
    const timer = this.#clock.setTimeout(() => resolve(this.#reasonOf(event)), Math.max(0, until - this.#clock.now()));
    return orAborted(promise, ended, 'waiting for a key').finally(() => {
      this.#clock.clearTimeout(timer);
      event.off(MatrixEventEvent.Decrypted, checkResult);
    });
  }

  /** Waits while the SDK searches the backup for a withheld key. A session is waited for once. */
  async #waitForBackupKey(
    event: MatrixEvent,
    { until, signal }: KeyWait,
  ): Promise<DecryptionFailureReason | undefined> {
    const sessionId = String(event.getWireContent().session_id);
    if (this.#backend.backupManager.activeBackupVersion === null || this.#withheld.has(sessionId)) return 'withheld';
    const wait = { until: Math.min(until, this.#clock.now() + BACKUP_SEARCH_MS), signal };
    const reason = await this.#waitForKey(event, wait, endsWithBackupKey);
    if (reason !== undefined) this.#withheld.add(sessionId);
    return reason;
  }

  /** Decrypts the newest edit, which the homeserver bundles with its event in `unsigned`. */
  async #decryptBundledEdit(roomId: string, raw: RawEvent): Promise<RawEvent> {
    const relations = raw.unsigned?.['m.relations'];
    const edit = isObject(relations) ? relations['m.replace'] : undefined;
    if (!isObject(relations) || !isRawEvent(edit) || !isCiphertext(edit)) return raw;
    const decrypted = await this.decrypt(roomId, edit);
    return { ...raw, unsigned: { ...raw.unsigned, 'm.relations': { ...relations, 'm.replace': decrypted } } };
  }
}

function isCiphertext(event: RawEvent): boolean {
  return event.type === 'm.room.encrypted' && event.state_key === undefined && event.content.ciphertext !== undefined;
}

function failed(event: RawEvent, reason: DecryptionFailureReason): RawEvent {
  return { ...event, [decryption]: { state: 'failed', reason } };
}
