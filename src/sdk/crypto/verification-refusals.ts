import type { MatrixClient } from 'matrix-js-sdk';
import { orAborted } from '../../core/abort.js';
import type { Context } from '../../core/context.js';
import type { VerificationRequested } from '../../encryption/verification-options.js';
import type { CryptoBackend } from './crypto-backend.js';
import { hasOtherSignedDevice } from './verification.js';
import { sendCancel } from './verification-messages.js';
import type { AskedVerification } from './verification-messages.js';

export interface VerificationRefusalsOptions {
  readonly matrixClient: MatrixClient;
  readonly crypto: CryptoBackend;
  /** Aborted when calls of the SDK may no longer settle. */
  readonly ended: AbortSignal;
  /** Whether another device of the user has answered the request. */
  readonly isAnsweredElsewhere: (asked: AskedVerification) => boolean;
  readonly onRequested: (event: VerificationRequested) => void;
}

/** Answers requests for a verification that the application does not get. The methods never reject. */
export class VerificationRefusals {
  readonly #logger: Context['logger'];
  readonly #options: VerificationRefusalsOptions;

  constructor({ logger }: Pick<Context, 'logger'>, options: VerificationRefusalsOptions) {
    this.#logger = logger;
    this.#options = options;
  }

  /**
   * Cancels a request that this device cannot serve. Leaves it to the user's other devices if one of them is signed: a
   * person may be there, and a cancellation would end the verification for that device too.
   */
  async refuse(asked: AskedVerification, code: string, reason: string): Promise<void> {
    try {
      const { ended, matrixClient } = this.#options;
      const { userId, otherUserId, otherDeviceId } = asked;
      const without = otherUserId === userId ? otherDeviceId : undefined;
      const hasOther = await orAborted(hasOtherSignedDevice(matrixClient, without), ended, 'looking for devices');
      if (hasOther) this.report(asked, 'other-device');
      else await this.cancel(asked, code, reason);
    } catch (err) {
      this.#reportFailure(asked, err);
    }
  }

  /** Cancels a request, unless another device of the user has answered it. */
  async cancel(asked: AskedVerification, code: string, reason: string): Promise<void> {
    const { crypto, ended, isAnsweredElsewhere } = this.#options;
    if (isAnsweredElsewhere(asked)) return this.report(asked, 'other-device');
    this.report(asked, 'cancelled');
    try {
      await orAborted(sendCancel(crypto, asked, code, reason), ended, 'cancelling a verification');
    } catch (err) {
      this.#reportFailure(asked, err);
    }
  }

  /** Tells the application what became of a request. */
  report(asked: AskedVerification, answer: VerificationRequested['answer']): void {
    const { userId, otherUserId, otherDeviceId, roomId, transactionId } = asked;
    this.#options.onRequested({ userId, otherUserId, otherDeviceId, roomId, transactionId, answer });
  }

  #reportFailure({ userId, otherUserId, roomId }: AskedVerification, err: unknown): void {
    if (this.#options.ended.aborted) return;
    this.#logger.warn({ userId, otherUserId, roomId, err }, 'answering a verification request failed');
  }
}
