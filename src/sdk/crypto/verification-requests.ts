import { MatrixEvent } from 'matrix-js-sdk';
import type { MachineGuard } from './machine-guard.js';
import type { MatrixClient } from 'matrix-js-sdk';
import { CryptoEvent } from 'matrix-js-sdk/lib/crypto-api/index.js';
import { orAborted } from '../../core/abort.js';
import type { Context } from '../../core/context.js';
import type { OnVerificationRequest, VerificationRequested } from '../../encryption/verification-options.js';
import { AskingDevices } from './asking-devices.js';
import { cryptoBackend } from './crypto-backend.js';
import type { CryptoBackend, ReceivedToDeviceMessage } from './crypto-backend.js';
import { LibraryVerifications } from './library-verifications.js';
import { handleLiveEvent } from './live-verification.js';
import { VerificationAdmission } from './verification-admission.js';
import type { Admission } from './verification-admission.js';
import { VerificationFlows } from './verification-flows.js';
import { readRoomRequest, readToDeviceRequest } from './verification-messages.js';
import type { AskedVerification, RoomVerificationEvent } from './verification-messages.js';
import { REPLACED, UNKNOWN_DEVICE, VerificationOffers } from './verification-offers.js';
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

const NOBODY = 'No person is there to compare emoji: an application runs this account.';

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
  readonly #offers: VerificationOffers;
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
    const { run, onRequest } = options;
    const offers = { crypto, library: this.#library, refusals: this.#refusals, isAnsweredElsewhere };
    this.#offers = new VerificationOffers(context, { ...offers, run, ended, onRequest });
    const process = crypto.processSyncChanges.bind(crypto);
    crypto.processSyncChanges = async (changes) => {
      const { toDeviceEvents, admitted } = await this.#filter(changes.toDeviceEvents);
      const processed = await this.#offers.pass(admitted, () => process({ ...changes, toDeviceEvents }));
      const ignored = this.#takeDecrypted(processed);
      if (ignored.length > 0) {
        const again = await this.#filter(ignored);
        const { toDeviceEvents: messages } = again;
        // With the counts of keys of this sync: without them the library would make new keys.
        await this.#offers.pass(again.admitted, () =>
          process({ ...changes, toDeviceEvents: messages, deviceLists: {} }),
        );
      }
      this.#offers.update();
      return processed;
    };
    const { olmMachine } = crypto;
    const markAsSent = olmMachine.markRequestAsSent.bind(olmMachine);
    olmMachine.markRequestAsSent = async (...request) => {
      const marked = await markAsSent(...request);
      this.#offers.update(); // emoji can be shown once the library knows that its key was sent
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
    if (answered !== undefined) this.#offers.leave(roomId, answered);
    if (event.isEcho) return; // the crypto library has made it
    this.#flows
      .run(roomId, event, () => this.#receiveInRoom(roomId, event))
      .catch((err: unknown) => {
        if (this.#options.ended.aborted) return;
        this.#context.logger.warn({ userId: this.#userId, roomId, err }, 'handling a verification event failed');
      });
  }

  /** Cancels the open verifications and waits until the other sides are told, for at most two seconds. Never rejects. */
  cancelOpen(): Promise<void> {
    return this.#offers.cancelOpen();
  }

  /** Ends the open verifications without a request. */
  close(): void {
    this.#offers.close();
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

  /**
   * Takes the requests that came encrypted: only now, after the crypto library has received them, can they be read.
   * @returns those that the library has ignored because it does not know the device
   */
  #takeDecrypted(messages: readonly ReceivedToDeviceMessage[]): object[] {
    const ignored: object[] = [];
    if (this.#isLeftToApplication) return ignored;
    for (const { message, encryptionInfo } of messages) {
      const asked = encryptionInfo ? readToDeviceRequest(this.#userId, message) : undefined;
      if (!asked || (asked.isStart && this.#library.hasRequest(asked))) continue; // the start follows a request
      if (!this.#library.has(asked)) {
        ignored.push(message);
        continue;
      }
      const admission = this.#admit(asked);
      if (admission === 'known') continue;
      if (this.#isForApplication(asked, admission)) this.#offers.offer(asked);
      else this.#library.drop(asked);
    }
    return ignored;
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
      await this.#offers.pass([asked], receive);
    } else {
      if (type === 'm.room.message') await this.#devices.query(sender);
      await receive();
    }
    this.#offers.update();
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
}
