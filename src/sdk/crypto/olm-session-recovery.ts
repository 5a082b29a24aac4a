import { delay, orAborted } from '../../core/abort.js';
import type { Clock } from '../../core/clock.js';
import type { Context } from '../../core/context.js';
import { isObject } from '../../core/raw-event.js';
import { OlmRecoveries } from '../../encryption/olm-recoveries.js';
import type { DeviceStore } from '../../encryption/store/device-store.js';
import { backoffMs } from '../../http/retry.js';
import { KEYS_CLAIM, PROCESSED_MESSAGES } from './crypto-backend.js';
import type { CryptoBackend, OutgoingRequest, ProcessedToDeviceMessage } from './crypto-backend.js';
import { claimedDevices } from './key-claims.js';
import { OlmSessionRenewal } from './olm-session-renewal.js';
import type { ClientCrypto } from './open-crypto.js';

export interface OlmSessionRecoveryOptions {
  readonly crypto: CryptoBackend;
  readonly run: ClientCrypto['run'];
  readonly store: Pick<DeviceStore, 'userId' | 'readSideRecord' | 'writeSideRecord'>;
  /** Aborted just before the client is stopped. */
  readonly ended: AbortSignal;
}

const OPERATION = 'replacing Olm sessions';
/** A Curve25519 key, unpadded Base64. */
const KEY = /^[A-Za-z0-9+/]{43}$/;
const ALGORITHM = 'm.olm.v1.curve25519-aes-sha2';
/** Recoveries in one request. */
const MOST_AT_ONCE = 100;
/** Waits after a failed request: ten seconds at first, at most ten minutes. */
const RETRIES = { baseDelayMs: 10_000, maxDelayMs: 600_000 };
/** To-device messages in a full sync of Synapse. More of them may follow. */
const MESSAGES_IN_FULL_SYNC = 100;

type Sender = readonly [userId: string, senderKey: string];

/**
 * Notices broken Olm sessions, and replaces them. The other device learns of the new session by an `m.dummy` message.
 *
 * The crypto library marks a device after a message that it could not decrypt, but not if it has no session with the
 * device, and not in the first hour of a session. It queues an `m.dummy`, encrypted in the old session, which nothing
 * sends. The SDK claims a key for a marked device, and repeats a claim that returns none in an endless loop.
 * @see https://spec.matrix.org/v1.16/client-server-api/#recovering-from-undecryptable-messages
 */
export class OlmSessionRecovery {
  readonly #clock: Clock;
  readonly #logger: Context['logger'];
  readonly #options: OlmSessionRecoveryOptions;
  readonly #recoveries: OlmRecoveries;
  readonly #renewal: OlmSessionRenewal;
  readonly #ownKey: string;
  readonly #loaded: Promise<void>;
  /**
   * Whether messages may come again that were received before the process was killed. The library cannot decrypt those
   * twice, so they do not show that their session is broken.
   */
  #isCatchingUp = true;
  #isRunning = false;
  /** Ends the wait for the next attempt. */
  #wake: () => void = () => {};

  /** Wraps the machine of `crypto`. */
  constructor(context: Pick<Context, 'clock' | 'logger'>, options: OlmSessionRecoveryOptions) {
    const { crypto, run, store, ended } = options;
    const { olmMachine } = crypto;
    this.#clock = context.clock;
    this.#logger = context.logger;
    this.#options = options;
    this.#recoveries = new OlmRecoveries(context.clock, store);
    this.#renewal = new OlmSessionRenewal(context, { crypto, run, store, ended, recoveries: this.#recoveries });
    this.#ownKey = olmMachine.identityKeys.curve25519.toBase64();
    const receive = olmMachine.receiveSyncChanges.bind(olmMachine);
    const outgoing = olmMachine.outgoingRequests.bind(olmMachine);
    olmMachine.receiveSyncChanges = async (...changes) => {
      const processed = await receive(...changes);
      await this.#noteUndecryptable(processed);
      return processed;
    };
    olmMachine.outgoingRequests = async () => {
      const requests = await outgoing();
      const claims = requests.filter(({ type }) => type === KEYS_CLAIM);
      await this.#noteMarked(claims);
      return claims.length === 0 ? requests : requests.filter(({ type }) => type !== KEYS_CLAIM);
    };
    this.#loaded = this.#recoveries.load();
    this.#loaded.then(
      () => this.#begin(),
      () => {}, // the store has reported the failure
    );
  }

  /** Resolves when the senders of undecryptable messages are stored. The sync's position may be stored after that. */
  async #noteUndecryptable(messages: readonly ProcessedToDeviceMessage[]): Promise<void> {
    const senders = messages.map((message) => this.#senderOf(message)).filter((sender) => sender !== undefined);
    const onlyIfMissing = this.#isCatchingUp;
    if (messages.length < MESSAGES_IN_FULL_SYNC) this.#isCatchingUp = false;
    const users = senders.length > 0 ? await this.#trackedUsers() : new Set();
    await this.#note(
      senders.filter(([userId]) => users.has(userId)),
      onlyIfMissing,
    );
  }

  /** The users with whom the device shares encrypted rooms. Messages to devices may come from anyone. */
  async #trackedUsers(): Promise<ReadonlySet<unknown>> {
    const ids = [...(await this.#options.crypto.olmMachine.trackedUsers())];
    const users = new Set(ids.map((id) => id.toString()));
    for (const id of ids) id.free();
    return users;
  }

  /** The device that needs a new session: it has sent an undecryptable message, or says that it could make no session. */
  #senderOf({ type, rawEvent }: ProcessedToDeviceMessage): Sender | undefined {
    const isUndecryptable = type === PROCESSED_MESSAGES.undecryptable;
    if (!isUndecryptable && type !== PROCESSED_MESSAGES.clear) return undefined;
    const event: unknown = JSON.parse(rawEvent);
    if (!isObject(event) || !isObject(event['content'])) return undefined;
    const { sender, type: eventType, content } = event;
    const { algorithm, sender_key: senderKey, ciphertext, code } = content;
    if (typeof sender !== 'string' || typeof senderKey !== 'string' || !KEY.test(senderKey)) return undefined;
    if (senderKey === this.#ownKey) return undefined;
    const isForUs = algorithm === ALGORITHM && isObject(ciphertext) && Object.hasOwn(ciphertext, this.#ownKey);
    const hasNoSession = eventType === 'm.room_key.withheld' && code === 'm.no_olm';
    return (isUndecryptable ? isForUs : hasNoSession) ? [sender, senderKey] : undefined;
  }

  /** Notes the devices that the library claims keys of: it has marked them as broken, or has a secret for them. */
  async #noteMarked(claims: readonly Partial<OutgoingRequest>[]): Promise<void> {
    const senders: Sender[] = [];
    for (const [userId, devices] of Map.groupBy(claims.flatMap(claimedDevices), ([userId]) => userId)) {
      const marked = new Set(devices.map(([, deviceId]) => deviceId));
      for (const [senderKey, deviceId] of await this.#renewal.deviceIdsOf(userId)) {
        if (marked.has(deviceId)) senders.push([userId, senderKey]);
      }
    }
    await this.#note(senders, false);
  }

  async #note(senders: readonly Sender[], onlyIfMissing: boolean): Promise<void> {
    if (senders.length === 0) return;
    await this.#loaded;
    const areNew = senders.map(([userId, senderKey]) => this.#recoveries.note(userId, senderKey, onlyIfMissing));
    if (!areNew.includes(true)) return;
    await this.#recoveries.save();
    this.#begin();
  }

  #begin(): void {
    this.#wake();
    if (!this.#isRunning && this.#recoveries.nextDelayMs !== undefined) void this.#recover();
  }

  /** Ends when nothing is left to do, and before the client is stopped. Never rejects. */
  async #recover(): Promise<void> {
    const { ended, store } = this.#options;
    this.#isRunning = true;
    for (let failures = 0; !ended.aborted;) {
      const { nextDelayMs } = this.#recoveries;
      if (nextDelayMs === undefined) break;
      try {
        const due = this.#recoveries.due().slice(0, MOST_AT_ONCE);
        if (nextDelayMs > 0) await this.#waitForDue(nextDelayMs);
        else await orAborted(this.#renewal.renew(due), ended, OPERATION);
        failures = 0;
      } catch (error) {
        if (ended.aborted) break;
        failures++;
        this.#logger.warn({ userId: store.userId, err: error }, `${OPERATION} failed; it is retried`);
        await delay(this.#clock, backoffMs(failures, RETRIES), ended, OPERATION).catch(() => {});
      }
    }
    this.#isRunning = false;
  }

  /** Waits for the next attempt, or until another device is noted. */
  async #waitForDue(delayMs: number): Promise<void> {
    const woken = new AbortController();
    this.#wake = () => woken.abort();
    const either = AbortSignal.any([woken.signal, this.#options.ended]);
    await delay(this.#clock, delayMs, either, OPERATION).catch(() => {});
    this.#wake = () => {};
  }
}
