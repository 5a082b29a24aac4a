import { abortedError, orTimeout } from '../../core/abort.js';
import type { Context } from '../../core/context.js';
import { KeyedQueue } from '../../core/keyed-queue.js';
import type { OnVerificationRequest } from '../../encryption/verification-options.js';
import type { CryptoBackend } from './crypto-backend.js';
import type { LibraryVerifications } from './library-verifications.js';
import type { MachineGuard } from './machine-guard.js';
import { OfferedVerification } from './offered-verification.js';
import { MAX_AGE_MS } from './verification-admission.js';
import type { AskedVerification } from './verification-messages.js';
import type { VerificationRefusals } from './verification-refusals.js';

export interface VerificationOffersOptions {
  readonly crypto: CryptoBackend;
  readonly library: LibraryVerifications;
  readonly refusals: VerificationRefusals;
  /** Whether another device of the user has answered the request. */
  readonly isAnsweredElsewhere: (asked: AskedVerification) => boolean;
  /** Makes a call of the crypto library whose changes are stored before its result is used. */
  readonly run: MachineGuard['run'];
  /** Aborted when calls of the SDK may no longer settle. */
  readonly ended: AbortSignal;
  /** The application's handler. Without one nothing is offered. */
  readonly onRequest: OnVerificationRequest | undefined;
}

/** How long a stop waits until the other sides are told, in milliseconds. */
const STOP_TIMEOUT_MS = 2_000;

export const REPLACED = 'A newer request has replaced this one.';
export const UNKNOWN_DEVICE = 'The keys of the device that asks are not known.';

/** The requests for a verification that the application has got and that have not ended. */
export class VerificationOffers {
  readonly #context: Pick<Context, 'clock' | 'logger'>;
  readonly #options: VerificationOffersOptions;
  readonly #open = new Set<OfferedVerification>();
  /** The crypto library gets one request after the other, or it would cancel two of one user. It makes no network requests. */
  readonly #passing = new KeyedQueue();

  constructor(context: Pick<Context, 'clock' | 'logger'>, options: VerificationOffersOptions) {
    this.#context = context;
    this.#options = options;
  }

  /** Gives requests to the crypto library by `pass`, and then to the application. Ends older ones of the same users. */
  async pass<T>(requests: readonly AskedVerification[], pass: () => Promise<T>): Promise<T> {
    if (requests.length === 0) return pass();
    return this.#passing.run('', async () => {
      for (const { otherUserId } of requests) {
        for (const one of this.#open) {
          // The crypto library would cancel both.
          if (one.request.otherUserId === otherUserId) one.end('m.user', REPLACED);
        }
      }
      const passed = await pass();
      for (const asked of requests) this.offer(asked);
      return passed;
    });
  }

  /** Gives a request that the crypto library has received to the application. */
  offer(asked: AskedVerification): void {
    const { crypto, library, refusals, onRequest, run, ended, isAnsweredElsewhere } = this.#options;
    if (ended.aborted || !onRequest) return; // a stop began while the keys of the other side were requested
    const { timestamp, isStart, hasSas: _hasSas, ...info } = asked;
    if (isAnsweredElsewhere(asked)) {
      library.drop(asked);
      return refusals.report(asked, 'other-device');
    }
    const request = isStart ? undefined : library.request(asked);
    const sas = isStart ? library.comparison(asked) : undefined;
    const found = request ?? sas;
    if (!found) return void refusals.refuse(asked, 'm.user', UNKNOWN_DEVICE);
    if (found.isCancelled()) return found.free(); // by a message of the same sync
    const now = this.#context.clock.now();
    const verification = new OfferedVerification(this.#context, {
      crypto,
      run,
      info,
      request,
      sas,
      expiresAt: Math.min(timestamp ?? now, now) + MAX_AGE_MS,
      onEnded: () => this.#open.delete(verification),
    });
    this.#open.add(verification);
    refusals.report(asked, 'passed-on');
    void (async () => onRequest(verification.request))().catch((err: unknown) => {
      const { otherUserId } = info;
      this.#context.logger.error(
        { userId: info.userId, otherUserId, err },
        '`encryption.onVerificationRequest` failed',
      );
      verification.end('m.user', 'The application of this account failed.');
    });
  }

  /** Call it after the crypto library has received events, or has learned that a request was sent. */
  update(): void {
    for (const one of this.#open) one.update();
  }

  /** Ends a verification in a room that another device of the user has answered. */
  leave(roomId: string, transactionId: string): void {
    for (const one of this.#open) {
      const { request } = one;
      if (request.roomId !== roomId || request.transactionId !== transactionId) continue;
      one.leave('another device of the user has answered it');
    }
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
}
