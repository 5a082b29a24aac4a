import { MatrixEvent } from 'matrix-js-sdk';
import type { MachineGuard } from './machine-guard.js';
import type { MatrixClient } from 'matrix-js-sdk';
import { CryptoEvent } from 'matrix-js-sdk/lib/crypto-api/index.js';
import { abortedError, orAborted, orTimeout } from '../../core/abort.js';
import type { Context } from '../../core/context.js';
import { RecentIds } from '../../core/recent-ids.js';
import type { OnVerificationRequest, VerificationRequested } from '../../encryption/verification-options.js';
import { cryptoBackend } from './crypto-backend.js';
import type { CryptoBackend, WasmSas, WasmVerificationRequest } from './crypto-backend.js';
import { handleLiveEvent } from './live-verification.js';
import { OfferedVerification } from './offered-verification.js';
import { hasOtherSignedDevice, queryKeys } from './verification.js';
import { VerificationLimits } from './verification-limits.js';
import { readRoomRequest, readToDeviceRequest, sendCancel } from './verification-messages.js';
import type { AskedVerification, RoomVerificationEvent } from './verification-messages.js';
import { wasmUserId } from './wasm-user-id.js';

export interface VerificationRequestsOptions {
  /** Its encryption has to be open. */
  readonly matrixClient: MatrixClient;
  /** Makes a call of the crypto library whose changes are stored before its result is used. */
  readonly run: MachineGuard['run'];
  /** Aborted when calls of the SDK may no longer settle. */
  readonly ended: AbortSignal;
  /** The application's handler. @default requests are cancelled at once */
  readonly onRequest: OnVerificationRequest | undefined;
  /** Called with each request that was answered or passed on. */
  readonly onRequested: (event: VerificationRequested) => void;
}

/** How old a request may be, and how long a verification may take, in milliseconds: the time of the specification. */
const MAX_AGE_MS = 600_000;
/** How far a request's time may be in the future, in milliseconds, as the specification has it. */
const MAX_AHEAD_MS = 300_000;
/** Remembered ids of requests and events, so that none is handled twice. */
const REMEMBERED = 1_000;
/** Events of rooms that wait for an earlier one, at most. */
const MAX_WAITING = 1_000;
/** How long a sync waits for the keys of an unknown user who asks, in milliseconds. */
const KEYS_TIMEOUT_MS = 5_000;
/** How long a stop waits until the other sides are told, in milliseconds. */
const STOP_TIMEOUT_MS = 2_000;

const REPLACED = 'A newer request has replaced this one.';
const NOBODY = 'No person is there to compare emoji: an application runs this account.';

/**
 * Answers requests of others to verify a client's user. Without a handler of the application they are cancelled, so that
 * nobody waits ten minutes. The crypto library gets only those that the handler gets: it keeps each one, and answers two of
 * one user itself.
 *
 * If the application listens for the SDK's own event of such requests, all of them are left to it.
 *
 * This file is a little long because each request is answered exactly once: offered, declined or left to another device.
 */
export class VerificationRequests {
  readonly #context: Pick<Context, 'clock' | 'logger'>;
  readonly #options: VerificationRequestsOptions;
  readonly #crypto: CryptoBackend;
  readonly #userId: string;
  readonly #seen = new RecentIds(REMEMBERED);
  readonly #limits = new VerificationLimits(MAX_AGE_MS);
  readonly #open = new Set<OfferedVerification>();
  /** The events of rooms are handled one after the other: the first may wait for keys. */
  #lastInRoom: Promise<void> = Promise.resolve();
  #waitingInRoom = 0;
  #hasSynced = false;

  constructor(context: Pick<Context, 'clock' | 'logger'>, options: VerificationRequestsOptions) {
    const { matrixClient } = options;
    this.#context = context;
    this.#options = options;
    this.#userId = matrixClient.getSafeUserId();
    const crypto = cryptoBackend(matrixClient);
    this.#crypto = crypto;
    const process = crypto.processSyncChanges.bind(crypto);
    crypto.processSyncChanges = async (changes) => {
      const { toDeviceEvents, admitted } = await this.#filter(changes.toDeviceEvents);
      const processed = await process({ ...changes, toDeviceEvents });
      for (const asked of admitted) this.#offer(asked);
      this.#update();
      return processed;
    };
    crypto.onLiveEventFromSync = async (event) => {
      handleLiveEvent(event, (roomId, received) => this.receiveInRoom(roomId, received));
    };
    const notify = crypto.onIncomingKeyVerificationRequest.bind(crypto);
    crypto.onIncomingKeyVerificationRequest = (...request) => {
      if (this.#isLeftToApplication) notify(...request);
    };
  }

  /** Call it when the SDK has processed a sync. */
  synced(): void {
    this.#hasSynced = true;
  }

  /** Takes a verification event of a room, decrypted. One that was received twice is ignored the second time. */
  receiveInRoom(roomId: string, event: RoomVerificationEvent): void {
    const key = `event ${event.eventId}`;
    if (this.#seen.has(key) || this.#waitingInRoom >= MAX_WAITING) return;
    this.#seen.add(key);
    this.#waitingInRoom++;
    this.#lastInRoom = this.#lastInRoom
      .then(() => this.#receiveInRoom(roomId, event))
      .catch((err: unknown) => {
        if (this.#options.ended.aborted) return;
        this.#context.logger.warn({ userId: this.#userId, roomId, err }, 'handling a verification event failed');
      })
      .finally(() => this.#waitingInRoom--);
  }

  /** Cancels the open verifications and waits until the other sides are told, for at most two seconds. Never rejects. */
  async cancelOpen(): Promise<void> {
    if (this.#open.size === 0) return;
    const cancelled = [...this.#open].map((one) => one.cancelWith('m.user', 'The account goes offline.'));
    await orTimeout(Promise.allSettled(cancelled), this.#context.clock, STOP_TIMEOUT_MS, () =>
      abortedError('cancelling verifications'),
    ).catch(() => {});
  }

  /** Ends the open verifications without a request. */
  close(): void {
    for (const one of this.#open) one.close('the client was stopped');
  }

  get #isLeftToApplication(): boolean {
    return this.#options.matrixClient.listenerCount(CryptoEvent.VerificationRequestReceived) > 0;
  }

  /** Splits the messages of a sync: those for the crypto library, and the requests among them that it gets. */
  async #filter(messages: readonly object[]) {
    const passed = new Set(messages);
    const admitted = new Map<string, { readonly asked: AskedVerification; readonly message: object }>();
    for (const message of messages) {
      const asked = readToDeviceRequest(this.#userId, message);
      if (!asked || this.#isLeftToApplication || (asked.isStart && this.#isKnown(asked))) continue;
      if (!(await this.#admit(asked))) {
        passed.delete(message);
        continue;
      }
      const replaced = admitted.get(asked.otherUserId);
      if (replaced) {
        passed.delete(replaced.message);
        void this.#decline(replaced.asked, 'm.user', REPLACED);
      }
      admitted.set(asked.otherUserId, { asked, message });
    }
    return { toDeviceEvents: [...passed], admitted: [...admitted.values()].map(({ asked }) => asked) };
  }

  /** Whether the start belongs to a verification that the crypto library knows. */
  #isKnown(asked: AskedVerification): boolean {
    const known = this.#find(asked, false);
    known?.free();
    return known !== undefined;
  }

  async #receiveInRoom(roomId: string, event: RoomVerificationEvent): Promise<void> {
    const { ended } = this.#options;
    if (ended.aborted) return;
    const { eventId, type, sender, content, timestamp } = event;
    const isRequest = type === 'm.room.message';
    const asked = isRequest && !this.#isLeftToApplication ? readRoomRequest(this.#userId, roomId, event) : undefined;
    if (isRequest && !this.#isLeftToApplication && !(asked && (await this.#admit(asked)))) return;
    const ids = { event_id: eventId, room_id: roomId, sender, origin_server_ts: timestamp };
    const received = this.#crypto.onKeyVerificationEvent(new MatrixEvent({ ...ids, type, content }));
    await orAborted(received, ended, 'receiving a verification event');
    if (asked) this.#offer(asked);
    this.#update();
  }

  /** Decides whether the crypto library has to get a request. Answers it otherwise, unless it is old or one too many. */
  async #admit(asked: AskedVerification): Promise<boolean> {
    const { clock, logger } = this.#context;
    const { otherUserId, otherDeviceId, transactionId, timestamp, isStart, hasSas } = asked;
    const now = clock.now();
    if (otherUserId === this.#userId && otherDeviceId === this.#options.matrixClient.getDeviceId()) return false;
    const ageMs = isStart ? (this.#hasSynced ? 0 : Infinity) : now - (timestamp ?? -Infinity);
    if (ageMs > MAX_AGE_MS || ageMs < -MAX_AHEAD_MS) return false;
    const key = `${otherUserId} ${transactionId}`;
    if (this.#seen.has(key)) return false;
    if (!this.#limits.allow(otherUserId, now)) {
      logger.debug({ userId: this.#userId, otherUserId }, 'ignoring a verification request: there are too many');
      return false;
    }
    this.#seen.add(key);
    if (!this.#options.onRequest) {
      void this.#answerForNobody(asked);
      return false;
    }
    if (!hasSas) {
      void this.#decline(asked, 'm.unknown_method', 'Only emoji can be compared.');
      return false;
    }
    for (const one of this.#open) {
      // The crypto library would cancel both.
      if (one.request.otherUserId === otherUserId) one.end('m.user', REPLACED);
    }
    await this.#loadDevice(otherUserId, otherDeviceId);
    return true;
  }

  /** Fetches the keys of the device that asks, if they are unknown. The crypto library ignores unknown devices. */
  async #loadDevice(otherUserId: string, deviceId: string): Promise<void> {
    const { ended, matrixClient } = this.#options;
    const crypto = matrixClient.getCrypto();
    const load = async (): Promise<void> => {
      const devices = await crypto?.getUserDeviceInfo([otherUserId]);
      if (crypto && !devices?.get(otherUserId)?.has(deviceId)) await queryKeys(crypto, otherUserId);
    };
    const operation = 'fetching the keys of a device';
    const loaded = orTimeout(load(), this.#context.clock, KEYS_TIMEOUT_MS, () => abortedError(operation));
    await orAborted(loaded, ended, operation).catch((err: unknown) => {
      this.#context.logger.debug({ userId: this.#userId, otherUserId, err }, 'fetching the keys of a device failed');
    });
  }

  /** Gives a request that the crypto library has received to the application. */
  #offer(asked: AskedVerification): void {
    const { onRequest, run, ended } = this.#options;
    if (ended.aborted) return; // a stop began while the keys of the other side were requested
    const found = this.#find(asked, asked.isStart);
    if (!found || !onRequest) {
      void this.#decline(asked, 'm.user', 'The keys of the device that asks are not known.');
      return;
    }
    if (found.isCancelled()) return found.free(); // by a message of the same sync
    const { timestamp: _timestamp, isStart, hasSas: _hasSas, ...info } = asked;
    const now = this.#context.clock.now();
    const verification = new OfferedVerification(this.#context, {
      crypto: this.#crypto,
      run,
      info,
      request: isStart ? undefined : (found as WasmVerificationRequest),
      sas: isStart ? (found as WasmSas) : undefined,
      expiresAt: Math.min(asked.timestamp ?? now, now) + MAX_AGE_MS,
      onEnded: () => this.#open.delete(verification),
    });
    this.#open.add(verification);
    this.#options.onRequested({ ...info, answer: 'passed-on' });
    void (async () => onRequest(verification.request))().catch((err: unknown) => {
      const { otherUserId } = info;
      this.#context.logger.error(
        { userId: this.#userId, otherUserId, err },
        '`encryption.onVerificationRequest` failed',
      );
      verification.end('m.user', 'The application of this account failed.');
    });
  }

  /** @param isStart - whether the comparison itself is meant, and not the request for one */
  #find({ otherUserId, transactionId }: AskedVerification, isStart: boolean) {
    const { olmMachine } = this.#crypto;
    const userId = wasmUserId(this.#crypto, otherUserId);
    if (!userId) return undefined;
    const found = isStart
      ? olmMachine.getVerification(userId, transactionId)
      : olmMachine.getVerificationRequest(userId, transactionId);
    userId.free();
    return found;
  }

  async #answerForNobody(asked: AskedVerification): Promise<void> {
    try {
      const { ended, matrixClient } = this.#options;
      const { otherUserId, otherDeviceId } = asked;
      const without = otherUserId === this.#userId ? otherDeviceId : undefined;
      // A person may be there. A cancellation would end the verification for that device too.
      const hasOther = await orAborted(hasOtherSignedDevice(matrixClient, without), ended, 'looking for devices');
      if (hasOther) this.#report(asked, 'other-device');
      else await this.#decline(asked, 'm.user', NOBODY);
    } catch (err) {
      this.#reportFailure(asked, err);
    }
  }

  /** Never rejects. */
  async #decline(asked: AskedVerification, code: string, reason: string): Promise<void> {
    this.#report(asked, 'cancelled');
    try {
      await orAborted(sendCancel(this.#crypto, asked, code, reason), this.#options.ended, 'cancelling a verification');
    } catch (err) {
      this.#reportFailure(asked, err);
    }
  }

  #report(
    { userId, otherUserId, otherDeviceId, roomId, transactionId }: AskedVerification,
    answer: VerificationRequested['answer'],
  ): void {
    this.#options.onRequested({ userId, otherUserId, otherDeviceId, roomId, transactionId, answer });
  }

  #reportFailure({ userId, otherUserId, roomId }: AskedVerification, err: unknown): void {
    if (this.#options.ended.aborted) return;
    this.#context.logger.warn({ userId, otherUserId, roomId, err }, 'answering a verification request failed');
  }

  #update(): void {
    for (const one of this.#open) one.update();
  }
}
