import { MatrixEvent, MatrixEventEvent } from 'matrix-js-sdk';
import type { MatrixClient } from 'matrix-js-sdk';
import { DecryptionFailureCode } from 'matrix-js-sdk/lib/crypto-api/index.js';
import { orAborted } from '../../core/abort.js';
import type { Clock, TimerHandle } from '../../core/clock.js';
import { decryption } from '../../core/decryption.js';
import type { DecryptionFailureReason } from '../../core/decryption.js';
import { isDeeperThan, MAX_EVENT_DEPTH } from '../../core/json-depth.js';
import { isObject, isRawEvent } from '../../core/raw-event.js';
import { RecentIds } from '../../core/recent-ids.js';
import type { RawEvent } from '../../core/raw-event.js';
import { cryptoBackend } from './crypto-backend.js';
import type { DecryptionChecks } from './decryption-checks.js';
import type { DeviceLists, DeviceListUpdate } from './device-lists.js';
import type { QueuedKeys } from './queued-keys.js';
import type { SenderCheck } from './sender-checks.js';

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

/** For how many sessions it is remembered that the backup does not have the withheld key. */
const MOST_WITHHELD_SESSIONS = 1_000;

/** How long after their sync changed device lists are waited for, in milliseconds, where nobody waits for keys. */
const DEVICE_LISTS_MS = 5_000;

/** How long to wait for a missing key, and for the signature of an unsigned device. */
export interface KeyWait {
  /** Milliseconds since the Unix epoch. A key is waited for longer while the homeserver holds messages to the device. */
  readonly until: number;
  readonly signal: AbortSignal;
}

export interface EventDecryptorOptions {
  readonly matrixClient: MatrixClient;
  readonly clock: Clock;
  /** Aborted when calls of the SDK may no longer settle. */
  readonly ended: AbortSignal;
  readonly checks: Pick<DecryptionChecks, 'refusalOf' | 'resultOf' | 'senderOf'>;
  readonly deviceLists: Pick<DeviceLists, 'updateOf' | 'version'>;
  readonly queuedKeys: Pick<QueuedKeys, 'deadline'>;
}

interface Decrypted {
  readonly event: RawEvent;
  /** The version of the device lists with which the result ends, if it does. */
  readonly version?: number;
}

interface Attempt {
  readonly event: RawEvent;
  /** What is known of the sender, unless the event failed for another reason than its sender. */
  readonly check: SenderCheck | undefined;
}

/** Decrypts raw events of the homeserver, without the SDK's timelines. */
export class EventDecryptor {
  readonly #matrixClient: MatrixClient;
  readonly #clock: Clock;
  readonly #ended: AbortSignal;
  readonly #checks: EventDecryptorOptions['checks'];
  readonly #deviceLists: EventDecryptorOptions['deviceLists'];
  readonly #queuedKeys: EventDecryptorOptions['queuedKeys'];
  readonly #decrypted = new WeakMap<RawEvent, Decrypted>();
  /** Ids of sessions whose keys were withheld and were not found in the backup. Those forgotten are searched for again. */
  readonly #withheld = new RecentIds(MOST_WITHHELD_SESSIONS);

  constructor({ matrixClient, clock, ended, checks, deviceLists, queuedKeys }: EventDecryptorOptions) {
    this.#matrixClient = matrixClient;
    this.#clock = clock;
    this.#ended = ended;
    this.#checks = checks;
    this.#deviceLists = deviceLists;
    this.#queuedKeys = queuedKeys;
  }

  /**
   * Returns the event with its decrypted type and content, or marked with the reason why it cannot be decrypted. An
   * event that is not encrypted, or was redacted, is returned unchanged. Rejects with `ABORTED` on abort.
   */
  async decrypt(roomId: string, raw: RawEvent, wait?: KeyWait): Promise<RawEvent> {
    const known = this.#knownResultOf(raw);
    if (known) return known;
    if (isDeeperThan(raw, MAX_EVENT_DEPTH)) return isCiphertext(raw) ? failed(raw, 'unreadable') : raw;
    const event = await this.#decryptBundledEdit(roomId, raw);
    if (!isCiphertext(event)) return event;
    const update = this.#deviceLists.updateOf(event.sender); // may end during the attempt, but after the check
    let { version } = this.#deviceLists;
    let attempt = await this.#attempt(roomId, event, wait);
    // A sender whom the policy trusts anyway is not waited for: only the properties of the sender could change.
    const isDoubtful = attempt.check?.dependsOnDeviceLists && !attempt.check.isTrusted;
    if (isDoubtful && (await this.#waitForDeviceLists(event.sender, update, wait))) {
      ({ version } = this.#deviceLists);
      attempt = await this.#attempt(roomId, event, wait);
    }
    this.#remember(raw, attempt, version);
    return attempt.event;
  }

  #knownResultOf(raw: RawEvent): RawEvent | undefined {
    const known = this.#decrypted.get(raw);
    const isValid = known?.version === undefined || known.version === this.#deviceLists.version;
    return isValid ? known?.event : undefined;
  }

  /** The first result may be false while the sending device is unknown or seems unsigned: it is not kept for good. */
  #remember(raw: RawEvent, { event, check }: Attempt, version: number): void {
    const edit = bundledEditOf(raw);
    const isComplete = !edit || this.#knownResultOf(edit) !== undefined;
    const isKnownDevice = check?.sender.authenticated || check?.dependsOnDeviceLists === false;
    if (event[decryption]?.state !== 'decrypted' || !isKnownDevice || !isComplete) return;
    const endsWithEdit = edit && this.#decrypted.get(edit)?.version !== undefined;
    const isFinal = check?.sender.signedByOwner && !endsWithEdit;
    this.#decrypted.set(raw, { event, ...(!isFinal && { version }) });
  }

  async #attempt(roomId: string, event: RawEvent, wait: KeyWait | undefined): Promise<Attempt> {
    const matrixEvent = new MatrixEvent({ ...event, room_id: roomId });
    try {
      let reason = await this.#tryToDecrypt(matrixEvent);
      if (reason !== undefined && wait && endsWithKey.has(reason)) reason = await this.#waitForKey(matrixEvent, wait);
      if (reason === 'withheld' && wait) reason = await this.#waitForBackupKey(matrixEvent, wait);
      if (reason === undefined && authorizedTypes.has(matrixEvent.getType())) reason = 'unreadable';
      const result = this.#checks.resultOf(matrixEvent);
      const isOfSender = reason === undefined || reason === 'untrusted-sender';
      const check = isOfSender ? this.#checks.senderOf(matrixEvent) : undefined;
      if (reason !== undefined || !result) return { event: failed(event, reason ?? 'unreadable'), check };
      const content = matrixEvent.getClearContent() ?? {};
      return { event: { ...event, type: matrixEvent.getType(), content, [decryption]: result }, check };
    } finally {
      this.#backend.eventDecryptor.removeEventFromPendingList(matrixEvent);
    }
  }

  /** Waits while the sender's device list is fetched, which may have the signature. Returns whether it was fetched. */
  async #waitForDeviceLists(
    senderId: string,
    earlier: DeviceListUpdate | undefined,
    wait: KeyWait | undefined,
  ): Promise<boolean> {
    const update = this.#deviceLists.updateOf(senderId) ?? earlier;
    if (!update) return false;
    const until = wait?.until ?? update.startedAt + DEVICE_LISTS_MS;
    const remainingMs = until - this.#clock.now();
    if (remainingMs <= 0) return false;
    const ended = wait ? AbortSignal.any([wait.signal, this.#ended]) : this.#ended;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const timer = this.#clock.setTimeout(() => resolve(false), remainingMs);
    void update.ended.then(() => resolve(true));
    return orAborted(promise, ended, 'waiting for device lists').finally(() => this.#clock.clearTimeout(timer));
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
    const deadline = (): number => (retryable === endsWithKey ? this.#queuedKeys.deadline(until) : until);
    const waitOn = (): TimerHandle => {
      const remainingMs = deadline() - this.#clock.now();
      return this.#clock.setTimeout(
        () => {
          if (deadline() > this.#clock.now()) timer = waitOn();
          else resolve(this.#reasonOf(event));
        },
        Math.max(0, remainingMs),
      );
    };
    let timer = waitOn();
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
    const edit = bundledEditOf(raw);
    if (!edit) return raw;
    const decrypted = await this.decrypt(roomId, edit);
    const relations = { ...(raw.unsigned?.['m.relations'] as object), 'm.replace': decrypted };
    return { ...raw, unsigned: { ...raw.unsigned, 'm.relations': relations } };
  }
}

/** The encrypted edit that the homeserver bundles with its event. */
function bundledEditOf(raw: RawEvent): RawEvent | undefined {
  const relations = raw.unsigned?.['m.relations'];
  const edit = isObject(relations) ? relations['m.replace'] : undefined;
  return isRawEvent(edit) && isCiphertext(edit) ? edit : undefined;
}

function isCiphertext(event: RawEvent): boolean {
  return event.type === 'm.room.encrypted' && event.state_key === undefined && event.content.ciphertext !== undefined;
}

function failed(event: RawEvent, reason: DecryptionFailureReason): RawEvent {
  return { ...event, [decryption]: { state: 'failed', reason } };
}
