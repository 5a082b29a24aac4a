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
/** Reasons that a key which comes later ends. The clocks of device and homeserver may differ, so age is no proof. */
const mayPass: ReadonlySet<DecryptionFailureReason> = new Set(['missing-key', 'before-device']);
const mayBeFound: ReadonlySet<DecryptionFailureReason> = new Set([...mayPass, 'withheld']);

/** What the homeserver alone can tell, since it decides who may: as the content of a ciphertext they are forged. */
const neverEncrypted: ReadonlySet<string> = new Set(['m.room.redaction', 'm.room.create']);

/** How long a key that was withheld is looked for in the backup, in milliseconds: another device may have got it. */
const LOOK_UP_MS = 5_000;

/** Until when to wait for a key. */
export interface KeyWait {
  /** Milliseconds since the Unix epoch. */
  readonly until: number;
  readonly signal: AbortSignal;
}

/** Decrypts events as the homeserver sends them, outside of the SDK's timelines. */
export class EventDecryptor {
  readonly #matrixClient: MatrixClient;
  readonly #clock: Clock;
  readonly #ended: AbortSignal;
  readonly #decrypted = new WeakMap<RawEvent, RawEvent>();
  /** Ids of sessions whose keys were withheld, and are not in the backup. */
  readonly #withheld = new Set<string>();

  /** @param ended - fires when the SDK's calls may not settle any more */
  constructor(matrixClient: MatrixClient, clock: Clock, ended: AbortSignal) {
    this.#matrixClient = matrixClient;
    this.#clock = clock;
    this.#ended = ended;
  }

  /**
   * The event with what was encrypted as its type and content; where that cannot be had, with the reason. One that is
   * not encrypted, or was redacted, comes back as it is. Rejects with `ABORTED` when a signal fires.
   */
  async decrypt(roomId: string, raw: RawEvent, wait?: KeyWait): Promise<RawEvent> {
    const known = this.#decrypted.get(raw);
    if (known) return known;
    if (isDeeperThan(raw, MAX_EVENT_DEPTH)) return isCiphertext(raw) ? failed(raw, 'unreadable') : raw;
    const event = await this.#decryptBundledEdit(roomId, raw);
    if (!isCiphertext(event)) return event;
    const matrixEvent = new MatrixEvent({ ...event, room_id: roomId });
    try {
      let reason = await this.#attempt(matrixEvent);
      if (reason !== undefined && wait && mayPass.has(reason)) reason = await this.#waitForKey(matrixEvent, wait);
      if (reason === 'withheld' && wait) reason = await this.#lookUpKey(matrixEvent, wait);
      if (reason === undefined && neverEncrypted.has(matrixEvent.getType())) reason = 'unreadable';
      if (reason !== undefined) return failed(event, reason);
    } finally {
      this.#backend.eventDecryptor.removeEventFromPendingList(matrixEvent);
    }
    const decrypted = clearEvent(event, matrixEvent);
    this.#decrypted.set(raw, decrypted);
    return decrypted;
  }

  get #backend(): ReturnType<typeof cryptoBackend> {
    return cryptoBackend(this.#matrixClient);
  }

  /** Why the event cannot be decrypted; undefined when it is. */
  async #attempt(event: MatrixEvent): Promise<DecryptionFailureReason | undefined> {
    const attempt = event.attemptDecryption(this.#backend as unknown as Backend);
    await orAborted(attempt, this.#ended, 'decrypting an event');
    return reasonOf(event);
  }

  /** The SDK tries again by itself when the key comes. */
  #waitForKey(
    event: MatrixEvent,
    { until, signal }: KeyWait,
    passing = mayPass,
  ): Promise<DecryptionFailureReason | undefined> {
    const ended = AbortSignal.any([signal, this.#ended]);
    const { promise, resolve } = Promise.withResolvers<DecryptionFailureReason | undefined>();
    const look = (): void => {
      const reason = reasonOf(event);
      if (reason === undefined || !passing.has(reason)) resolve(reason);
    };
    event.on(MatrixEventEvent.Decrypted, look);
    look(); // the key may have come with the attempt
    const timer = this.#clock.setTimeout(() => resolve(reasonOf(event)), Math.max(0, until - this.#clock.now()));
    return orAborted(promise, ended, 'waiting for a key').finally(() => {
      this.#clock.clearTimeout(timer);
      event.off(MatrixEventEvent.Decrypted, look);
    });
  }

  /** The SDK looks for a missing key in the backup; what was withheld once is not waited for again. */
  async #lookUpKey(event: MatrixEvent, { until, signal }: KeyWait): Promise<DecryptionFailureReason | undefined> {
    const sessionId = String(event.getWireContent().session_id);
    if (this.#backend.backupManager.activeBackupVersion === null || this.#withheld.has(sessionId)) return 'withheld';
    const wait = { until: Math.min(until, this.#clock.now() + LOOK_UP_MS), signal };
    const reason = await this.#waitForKey(event, wait, mayBeFound);
    if (reason !== undefined) this.#withheld.add(sessionId);
    return reason;
  }

  /** The homeserver shows the newest edit of an event with it. */
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

function reasonOf(event: MatrixEvent): DecryptionFailureReason | undefined {
  const code = event.decryptionFailureReason;
  return code === null ? undefined : (reasons[code] ?? 'unreadable');
}

function clearEvent(event: RawEvent, decrypted: MatrixEvent): RawEvent {
  const relation = event.content['m.relates_to'];
  const content = {
    ...decrypted.getClearContent(),
    ...(relation !== undefined && { 'm.relates_to': relation }),
  };
  return { ...event, type: decrypted.getType(), content, [decryption]: { state: 'decrypted' } };
}
