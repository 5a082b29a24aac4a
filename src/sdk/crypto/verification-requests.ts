import { MatrixEvent } from 'matrix-js-sdk';
import type { MachineGuard } from './machine-guard.js';
import type { MatrixClient } from 'matrix-js-sdk';
import { CryptoEvent } from 'matrix-js-sdk/lib/crypto-api/index.js';
import { abortedError, orAborted, orTimeout } from '../../core/abort.js';
import type { Context } from '../../core/context.js';
import { KeyedQueue } from '../../core/keyed-queue.js';
import type { OnVerificationRequest, VerificationRequested } from '../../encryption/verification-options.js';
import { AskingDevices } from './asking-devices.js';
import { cryptoBackend } from './crypto-backend.js';
import type { CryptoBackend, ReceivedToDeviceMessage } from './crypto-backend.js';
import { LibraryVerifications } from './library-verifications.js';
import { handleLiveEvent } from './live-verification.js';
import { OfferedVerification } from './offered-verification.js';
import { MAX_AGE_MS, VerificationAdmission } from './verification-admission.js';
import type { Admission } from './verification-admission.js';
import { VerificationFlows } from './verification-flows.js';
import { readRoomRequest, readToDeviceRequest } from './verification-messages.js';
import type { AskedVerification, RoomVerificationEvent } from './verification-messages.js';
import { VerificationRefusals } from './verification-refusals.js';

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

/** How long a stop waits until the other sides are told, in milliseconds. */
const STOP_TIMEOUT_MS = 2_000;

const REPLACED = 'A newer request has replaced this one.';
const NOBODY = 'No person is there to compare emoji: an application runs this account.';
const UNKNOWN_DEVICE = 'The keys of the device that asks are not known.';

/**
 * Answers requests of others to verify a client's user. Without a handler of the application they are cancelled, so that
 * nobody waits ten minutes. The crypto library gets only those that the handler gets: it keeps each one, and answers two of
 * one user itself. Of encrypted messages to devices it gets all, because it decrypts them.
 *
 * If the application listens for the SDK's own event of such requests, all of them are left to it.
 */
export class VerificationRequests {
  readonly #context: Pick<Context, 'clock' | 'logger'>;
  readonly #options: VerificationRequestsOptions;
  readonly #crypto: CryptoBackend;
  readonly #userId: string;
  readonly #library: LibraryVerifications;
  readonly #admission: VerificationAdmission;
  readonly #devices: AskingDevices;
  readonly #refusals: VerificationRefusals;
  readonly #flows: VerificationFlows;
  readonly #open = new Set<OfferedVerification>();
  /** The crypto library gets one request after the other, or it would cancel two of one user. It makes no network requests. */
  readonly #offering = new KeyedQueue();
  #hasSynced = false;

  constructor(context: Pick<Context, 'clock' | 'logger'>, options: VerificationRequestsOptions) {
    const { matrixClient, ended, onRequested } = options;
    this.#context = context;
    this.#options = options;
    this.#userId = matrixClient.getSafeUserId();
    const crypto = cryptoBackend(matrixClient);
    this.#crypto = crypto;
    this.#library = new LibraryVerifications(crypto);
    const deviceId = matrixClient.getDeviceId();
    this.#admission = new VerificationAdmission(deviceId);
    this.#devices = new AskingDevices(context, { matrixClient, crypto, ended });
    this.#flows = new VerificationFlows(this.#userId, deviceId);
    const isAnsweredElsewhere = ({ roomId, transactionId }: AskedVerification): boolean =>
      this.#flows.isAnsweredElsewhere(roomId, transactionId);
    this.#refusals = new VerificationRefusals(context, {
      matrixClient,
      crypto,
      ended,
      isAnsweredElsewhere,
      onRequested,
    });
    const process = crypto.processSyncChanges.bind(crypto);
    crypto.processSyncChanges = async (changes) => {
      const { toDeviceEvents, admitted } = await this.#filter(changes.toDeviceEvents);
      const processed = await this.#passToLibrary(admitted, () => process({ ...changes, toDeviceEvents }));
      this.#takeDecrypted(processed);
      this.#update();
      return processed;
    };
    const { olmMachine } = crypto;
    const markAsSent = olmMachine.markRequestAsSent.bind(olmMachine);
    olmMachine.markRequestAsSent = async (...request) => {
      const marked = await markAsSent(...request);
      this.#update(); // emoji can be shown once the library knows that its key was sent
      return marked;
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
    if (!this.#flows.isNew(event)) return;
    const answered = this.#flows.noteOwnAnswer(roomId, event);
    for (const one of this.#open) {
      const { roomId: ofOne, transactionId } = one.request;
      if (ofOne === roomId && transactionId === answered) one.leave('another device of the user has answered it');
    }
    if (event.isEcho) return; // the crypto library has made it
    this.#flows
      .run(roomId, event, () => this.#receiveInRoom(roomId, event))
      .catch((err: unknown) => {
        if (this.#options.ended.aborted) return;
        this.#context.logger.warn({ userId: this.#userId, roomId, err }, 'handling a verification event failed');
      });
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
      if (!asked || this.#isLeftToApplication || (asked.isStart && this.#library.hasRequest(asked))) continue;
      if (!this.#isForApplication(asked, this.#admit(asked))) {
        passed.delete(message);
        continue;
      }
      const replaced = admitted.get(asked.otherUserId);
      if (replaced) {
        passed.delete(replaced.message);
        void this.#refusals.cancel(replaced.asked, 'm.user', REPLACED);
      }
      admitted.set(asked.otherUserId, { asked, message });
    }
    const known = await this.#devices.load([...admitted.values()].map(({ asked }) => asked));
    for (const { asked, message } of admitted.values()) {
      if (known.has(asked)) continue;
      passed.delete(message);
      void this.#refusals.refuse(asked, 'm.user', UNKNOWN_DEVICE);
    }
    return { toDeviceEvents: [...passed], admitted: [...known] };
  }

  /** Takes the requests that came encrypted: only now, after the crypto library has received them, can they be read. */
  #takeDecrypted(messages: readonly ReceivedToDeviceMessage[]): void {
    if (this.#isLeftToApplication) return;
    for (const { message, encryptionInfo } of messages) {
      const asked = encryptionInfo ? readToDeviceRequest(this.#userId, message) : undefined;
      if (!asked || (asked.isStart && this.#library.hasRequest(asked))) continue; // the start follows a request
      const admission = this.#admit(asked);
      if (admission === 'known') continue;
      if (this.#isForApplication(asked, admission)) this.#offer(asked);
      else this.#library.drop(asked);
    }
  }

  async #receiveInRoom(roomId: string, event: RoomVerificationEvent): Promise<void> {
    const { ended } = this.#options;
    if (ended.aborted) return;
    const { type, sender } = event;
    const receive = (): Promise<void> =>
      orAborted(this.#receiveEvent(roomId, event), ended, 'receiving a verification event');
    if (type === 'm.room.message' && !this.#isLeftToApplication) {
      const asked = readRoomRequest(this.#userId, roomId, event);
      if (!asked || !this.#isForApplication(asked, this.#admit(asked))) return;
      const known = await this.#devices.load([asked], true);
      if (ended.aborted) return;
      if (known.size === 0) return void this.#refusals.refuse(asked, 'm.user', UNKNOWN_DEVICE);
      await this.#passToLibrary([asked], receive);
    } else {
      if (type === 'm.room.message') await this.#devices.query(sender);
      await receive();
    }
    this.#update();
  }

  /**
   * Passes an event of a room to the crypto library, by the SDK's method without its first step: the SDK fetches the keys of
   * the sender of a request, without a deadline, and loses the request if that fails. They were fetched before.
   */
  #receiveEvent(roomId: string, { eventId, type, sender, content, timestamp }: RoomVerificationEvent): Promise<void> {
    const ids = { event_id: eventId, room_id: roomId, sender, origin_server_ts: timestamp };
    const outgoingRequestProcessor = { makeOutgoingRequest: async () => {} };
    const crypto = Object.create(this.#crypto, { outgoingRequestProcessor: { value: outgoingRequestProcessor } });
    return this.#crypto.onKeyVerificationEvent.call(crypto, new MatrixEvent({ ...ids, type, content }));
  }

  /** Gives requests to the crypto library by `pass`, and then to the application. Ends older ones of the same users. */
  async #passToLibrary<T>(requests: readonly AskedVerification[], pass: () => Promise<T>): Promise<T> {
    if (requests.length === 0) return pass();
    return this.#offering.run('', async () => {
      for (const { otherUserId } of requests) {
        for (const one of this.#open) {
          // The crypto library would cancel both.
          if (one.request.otherUserId === otherUserId) one.end('m.user', REPLACED);
        }
      }
      const passed = await pass();
      for (const asked of requests) this.#offer(asked);
      return passed;
    });
  }

  #admit(asked: AskedVerification): Admission {
    const { otherUserId } = asked;
    const admission = this.#admission.admit(asked, this.#context.clock.now(), this.#hasSynced);
    if (admission === 'too-many') {
      const ids = { userId: this.#userId, otherUserId };
      this.#context.logger.debug(ids, 'ignoring a verification request: there are too many');
    }
    return admission;
  }

  /** Answers a new request that the application cannot get. */
  #isForApplication(asked: AskedVerification, admission: Admission): boolean {
    if (admission !== 'new') return false;
    if (this.#options.onRequest && asked.hasSas) return true;
    void (this.#options.onRequest
      ? this.#refusals.refuse(asked, 'm.unknown_method', 'Only emoji can be compared.')
      : this.#refusals.refuse(asked, 'm.user', NOBODY));
    return false;
  }

  /** Gives a request that the crypto library has received to the application. */
  #offer(asked: AskedVerification): void {
    const { onRequest, run, ended } = this.#options;
    if (ended.aborted || !onRequest) return; // a stop began while the keys of the other side were requested
    const { timestamp, isStart, hasSas: _hasSas, ...info } = asked;
    if (this.#flows.isAnsweredElsewhere(info.roomId, info.transactionId)) {
      this.#library.drop(asked);
      return this.#refusals.report(asked, 'other-device');
    }
    const request = isStart ? undefined : this.#library.request(asked);
    const sas = isStart ? this.#library.comparison(asked) : undefined;
    const found = request ?? sas;
    if (!found) return void this.#refusals.refuse(asked, 'm.user', UNKNOWN_DEVICE);
    if (found.isCancelled()) return found.free(); // by a message of the same sync
    const now = this.#context.clock.now();
    const verification = new OfferedVerification(this.#context, {
      crypto: this.#crypto,
      run,
      info,
      request,
      sas,
      expiresAt: Math.min(timestamp ?? now, now) + MAX_AGE_MS,
      onEnded: () => this.#open.delete(verification),
    });
    this.#open.add(verification);
    this.#refusals.report(asked, 'passed-on');
    void (async () => onRequest(verification.request))().catch((err: unknown) => {
      const { otherUserId } = info;
      this.#context.logger.error(
        { userId: this.#userId, otherUserId, err },
        '`encryption.onVerificationRequest` failed',
      );
      verification.end('m.user', 'The application of this account failed.');
    });
  }

  #update(): void {
    for (const one of this.#open) one.update();
  }
}
