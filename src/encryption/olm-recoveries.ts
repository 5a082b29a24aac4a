import type { Clock } from '../core/clock.js';
import { backoffMs } from '../http/retry.js';
import type { DeviceStore } from './store/device-store.js';

/** Another device that needs a new Olm session, or got one less than an hour ago. */
export interface OlmRecovery {
  readonly userId: string;
  /** The device's Curve25519 key, unpadded Base64. */
  readonly senderKey: string;
  /** Whether a session is made only if there is none, or after another unreadable message. */
  onlyIfMissing: boolean;
  /** When a one-time key was claimed for the new session, in milliseconds since the Unix epoch. */
  claimedAt: number | undefined;
  /** When the recovery ended, in milliseconds since the Unix epoch. */
  endedAt: number | undefined;
  /** Number of failed attempts. */
  failures: number;
  /** No attempt before that, in milliseconds since the Unix epoch. Infinity: it waits for another unreadable message. */
  nextAttemptAt: number;
  /** Whether the process has it from an earlier one. */
  readonly isStored: boolean;
}

/** What the homeserver may cause: at most this many recoveries of a device, of one other user and in total per hour. */
const PERIOD_MS = 3_600_000;
const MOST_OF_USER = 20;
const MOST = 200;
/** Waits after failed attempts: a minute at first, at most an hour. A device may be out of one-time keys. */
const RETRIES = { baseDelayMs: 60_000, maxDelayMs: 3_600_000 };
const MOST_ATTEMPTS = 12;
/** Not like the name of a record of {@link ReceivedMessages}, which is JSON. */
const RECORD = 'olm recoveries';

/**
 * Remembers for one device which other devices need a new Olm session. Stored, so that no recovery is lost with the
 * process, and none is repeated within an hour.
 * @see https://spec.matrix.org/v1.16/client-server-api/#recovering-from-undecryptable-messages
 */
export class OlmRecoveries {
  readonly #clock: Clock;
  readonly #store: Pick<DeviceStore, 'readSideRecord' | 'writeSideRecord'>;
  readonly #all = new Map<string, OlmRecovery>();

  constructor(clock: Clock, store: Pick<DeviceStore, 'readSideRecord' | 'writeSideRecord'>) {
    this.#clock = clock;
    this.#store = store;
  }

  /** Adds what an earlier run has stored. Call it once, before anything else. Rejects like `readSideRecord()`. */
  async load(): Promise<void> {
    const record = await this.#store.readSideRecord(RECORD);
    for (const recovery of record ? parse(record, this.#clock.now()) : []) this.#all.set(keyOf(recovery), recovery);
  }

  /**
   * Notes that a device needs a new session, unless it got one in the last hour or is noted already. @returns whether it
   * was noted. Nothing is stored before {@link save}.
   */
  note(userId: string, senderKey: string, onlyIfMissing: boolean): boolean {
    const now = this.#clock.now();
    for (const [key, recovery] of this.#all) if (isOver(recovery, now)) this.#all.delete(key);
    const known = this.#all.get(keyOf({ userId, senderKey }));
    if (known) return this.#noteAgain(known, onlyIfMissing);
    if (!this.#makePlace(userId)) return false;
    const recovery = {
      userId,
      senderKey,
      onlyIfMissing,
      claimedAt: undefined,
      endedAt: undefined,
      failures: 0,
      nextAttemptAt: now,
      isStored: false,
    };
    this.#all.set(keyOf(recovery), recovery);
    return true;
  }

  /**
   * A message that was received before the process was killed comes once more, in the next process. So an unreadable
   * message in a third one, or in a later sync, is another message.
   */
  #noteAgain(known: OlmRecovery, onlyIfMissing: boolean): boolean {
    if (known.endedAt !== undefined || !known.onlyIfMissing || (onlyIfMissing && !known.isStored)) return false;
    known.onlyIfMissing = false;
    known.nextAttemptAt = this.#clock.now();
    return true;
  }

  /** Whether there is a place for another recovery; the oldest one that waits for a message gives up its own. */
  #makePlace(userId: string): boolean {
    const all = [...this.#all.values()];
    const ofUser = all.filter((recovery) => recovery.userId === userId);
    const full = [ofUser.length >= MOST_OF_USER && ofUser, all.length >= MOST && all].find((one) => one !== false);
    const waiting = full?.find(({ nextAttemptAt }) => nextAttemptAt === Infinity);
    if (waiting) this.drop(waiting);
    return !full || waiting !== undefined;
  }

  /** The recoveries to be attempted now. */
  due(): OlmRecovery[] {
    return this.#open().filter(({ nextAttemptAt }) => nextAttemptAt <= this.#clock.now());
  }

  /** Milliseconds until the next attempt; undefined if there is none to make. */
  get nextDelayMs(): number | undefined {
    const first = Math.min(...this.#open().map(({ nextAttemptAt }) => nextAttemptAt));
    return first === Infinity ? undefined : Math.max(0, first - this.#clock.now());
  }

  /** A one-time key was claimed, and a session made. */
  noteClaim(recovery: OlmRecovery): void {
    recovery.claimedAt = this.#clock.now();
  }

  /** The claim has returned no usable key for the device. */
  noteFailure(recovery: OlmRecovery): void {
    recovery.claimedAt = undefined;
    this.postpone(recovery);
  }

  /** An attempt has failed before or after the claim. Ends the recovery after many of them. */
  postpone(recovery: OlmRecovery): void {
    recovery.failures++;
    if (recovery.failures >= MOST_ATTEMPTS) return this.end(recovery);
    recovery.nextAttemptAt = this.#clock.now() + backoffMs(recovery.failures, RETRIES);
  }

  /** The device seems to need no new session: there is one. Another unreadable message shows that it does not work. */
  awaitMessage(recovery: OlmRecovery): void {
    recovery.nextAttemptAt = Infinity;
  }

  /** The device was told of its new session, or cannot get one. */
  end(recovery: OlmRecovery): void {
    recovery.endedAt = this.#clock.now();
  }

  /** There is no such device. It does not count against the maximum: anyone could invent some. */
  drop(recovery: OlmRecovery): void {
    this.#all.delete(keyOf(recovery));
  }

  /** Stores the present state. Rejects like `writeSideRecord()`. */
  save(): Promise<void> {
    const entries = [...this.#all.values()].map((recovery) => {
      const { userId, senderKey, onlyIfMissing, claimedAt = null, endedAt = null, failures, nextAttemptAt } = recovery;
      return [userId, senderKey, onlyIfMissing, claimedAt, endedAt, failures, nextAttemptAt]; // Infinity becomes null
    });
    return this.#store.writeSideRecord(RECORD, Buffer.from(JSON.stringify(entries)));
  }

  #open(): OlmRecovery[] {
    return [...this.#all.values()].filter(({ endedAt }) => endedAt === undefined);
  }
}

function keyOf({ userId, senderKey }: Pick<OlmRecovery, 'userId' | 'senderKey'>): string {
  return `${userId}\n${senderKey}`;
}

/** Whether the device may get a new session again. The hour begins with the claim: it is then that a key is used up. */
function isOver({ claimedAt, endedAt }: OlmRecovery, now: number): boolean {
  const elapsedMs = endedAt === undefined ? 0 : now - (claimedAt ?? endedAt);
  return elapsedMs >= PERIOD_MS || elapsedMs < 0; // below 0 the clock was set back
}

function parse(record: Uint8Array, now: number): OlmRecovery[] {
  const entries = JSON.parse(Buffer.from(record).toString()) as StoredRecovery[];
  return entries.map(([userId, senderKey, onlyIfMissing, claimedAt, endedAt, failures = 0, nextAttemptAt = now]) => ({
    userId,
    senderKey,
    onlyIfMissing,
    claimedAt: claimedAt ?? undefined,
    endedAt: endedAt ?? undefined,
    failures,
    nextAttemptAt: nextAttemptAt === null ? Infinity : Math.min(nextAttemptAt, now + RETRIES.maxDelayMs),
    isStored: true,
  }));
}

type StoredRecovery = [
  userId: string,
  senderKey: string,
  onlyIfMissing: boolean,
  claimedAt: number | null,
  endedAt: number | null,
  failures?: number,
  nextAttemptAt?: number | null,
];
