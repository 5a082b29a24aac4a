import { orAborted } from '../../core/abort.js';
import { callSchema } from '../../core/call-options.js';
import type { MachineGuard } from './machine-guard.js';
import type { CallOptions } from '../../core/call-options.js';
import type { TimerHandle } from '../../core/clock.js';
import type { Context } from '../../core/context.js';
import { invalidOptions } from '../../core/errors.js';
import type { MatrixClientManagerError } from '../../core/errors.js';
import { checkOptions } from '../../core/validation.js';
import type { Schema } from '../../core/validation.js';
import { cancelVerificationSchema } from '../../encryption/verification-options.js';
import type {
  VerificationEmoji,
  VerificationRequest,
  VerificationRequestInfo,
} from '../../encryption/verification-options.js';
import type { CryptoBackend, OutgoingRequest, WasmSas, WasmVerificationRequest } from './crypto-backend.js';
import { cancelledError, endedError, stepFailure } from './verification-errors.js';
import { sendCancel } from './verification-messages.js';

export interface OfferedVerificationOptions {
  readonly crypto: CryptoBackend;
  /** Makes a call of the crypto library whose changes are stored before its result is used. */
  readonly run: MachineGuard['run'];
  readonly info: VerificationRequestInfo;
  /** Undefined if the other side has started the comparison without a request. */
  readonly request: WasmVerificationRequest | undefined;
  readonly sas: WasmSas | undefined;
  /** In milliseconds since the Unix epoch. */
  readonly expiresAt: number;
  /** Called once, when the verification has ended. */
  readonly onEnded: () => void;
}

/** `VerificationMethod.SasV1` of the SDK's WebAssembly. */
const SAS_V1 = 0;
/** After this time without a start by the other side, this side starts, in milliseconds. Two starts at once are settled too. */
const START_DELAY_MS = 5_000;

/**
 * A request that was given to the application, driven on the objects of the crypto library. The SDK's own classes leave
 * requests unawaited, whose rejections would end the process.
 *
 * The library changes its objects when it receives events, so `update()` is called after that.
 */
export class OfferedVerification {
  /** What the application gets. */
  readonly request: VerificationRequest;
  readonly #context: Pick<Context, 'clock' | 'logger'>;
  readonly #options: OfferedVerificationOptions;
  readonly #wasmRequest: WasmVerificationRequest | undefined;
  #sas: WasmSas | undefined;
  readonly #ended = new AbortController();
  #isOver = false;
  readonly #emoji = Promise.withResolvers<readonly VerificationEmoji[]>();
  #hasEmoji = false;
  readonly #done = Promise.withResolvers<void>();
  #accepted: Promise<void> | undefined;
  #confirmed: Promise<void> | undefined;
  /** Resolves when the other side was told that the request is cancelled. */
  #cancelled: Promise<void> | undefined;
  readonly #expiry: TimerHandle;
  #startTimer: TimerHandle;

  constructor(context: Pick<Context, 'clock' | 'logger'>, options: OfferedVerificationOptions) {
    const { info, request, sas, expiresAt } = options;
    this.#context = context;
    this.#options = options;
    this.#wasmRequest = request;
    this.#sas = sas;
    for (const { promise } of [this.#emoji, this.#done]) promise.catch(() => {}); // no step may wait for it
    const { clock } = context;
    this.#expiry = clock.setTimeout(
      () => this.end('m.timeout', 'The verification was not finished in time.'),
      expiresAt - clock.now(),
    );
    const step = callSchema;
    const { signal } = this.#ended;
    this.request = Object.freeze<VerificationRequest>({
      ...info,
      expiresAt,
      signal,
      accept: (stepOptions) => this.#step('accept', step, stepOptions, () => this.#accept()),
      emoji: (stepOptions) =>
        this.#step('emoji', step, stepOptions, async () => {
          await this.#accept();
          return this.#emoji.promise;
        }),
      confirm: (stepOptions) => this.#step('confirm', step, stepOptions, () => this.#confirm()),
      cancel: (cancelOptions) =>
        this.#step('cancel', cancelVerificationSchema, cancelOptions, async ({ reason }) =>
          reason === 'mismatch'
            ? this.#cancel('m.mismatched_sas', 'The emoji did not match.')
            : this.#cancel('m.user', 'The user declined the verification.'),
        ),
    });
  }

  /** Call it after the crypto library has received events. */
  update(): void {
    try {
      this.#update();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Cancels the verification, unless it has ended. A failure to tell the other side is logged. */
  end(code: string, reason: string): void {
    this.#cancel(code, reason).catch((err: unknown) => {
      const { userId, otherUserId } = this.#options.info;
      this.#context.logger.warn({ userId, otherUserId, err }, 'cancelling a verification failed');
    });
  }

  /** Cancels the verification. Settles when the other side was told. */
  cancelWith(code: string, reason: string): Promise<void> {
    return this.#cancel(code, reason);
  }

  /**
   * Ends the verification at this side only, because another device of the user goes on with it. The crypto library would
   * cancel it for both after ten minutes.
   */
  leave(reason: string): void {
    if (this.#isOver) return;
    this.#cancelInLibrary('m.user');
    this.close(reason);
  }

  /** Ends the verification without telling the other side. */
  close(reason: string): void {
    this.#finish(endedError(this.#options.info, reason));
  }

  async #step<Options extends CallOptions, T>(
    name: string,
    schema: Schema<Options>,
    options: Options | undefined,
    run: (options: Options) => Promise<T>,
  ): Promise<T> {
    const checked = checkOptions(`${name}()`, schema, options ?? {});
    return orAborted(run(checked), checked.signal, `${name}() of a verification`);
  }

  async #accept(): Promise<void> {
    this.#accepted ??= this.#sendAcceptance();
    return this.#untilEnded(this.#accepted);
  }

  async #sendAcceptance(): Promise<void> {
    if (this.#isOver) return;
    const request = this.#wasmRequest;
    if (request) {
      await this.#send(request.acceptWithMethods([SAS_V1]));
      if (this.#isOver) return;
      this.#startTimer = this.#context.clock.setTimeout(() => void this.#start(request), START_DELAY_MS);
    } else await this.#send(this.#sas?.accept());
    this.update();
  }

  /** Starts the comparison, unless the other side has done so. */
  async #start(request: WasmVerificationRequest): Promise<void> {
    if (this.#isOver || this.#sas || !request.isReady()) return;
    try {
      const [sas, message] = (await request.startSas()) ?? [];
      sas?.free(); // update() gets the present one, which may be that of the other side
      await this.#send(message);
      this.update();
    } catch (error) {
      this.#fail(error);
    }
  }

  async #confirm(): Promise<void> {
    if (!this.#hasEmoji && !this.#isOver) throw invalidOptions('expected emoji() to have resolved before confirm()');
    this.#confirmed ??= this.#sendConfirmation();
    return this.#untilEnded(this.#confirmed);
  }

  async #sendConfirmation(): Promise<void> {
    if (this.#isOver) return this.#done.promise;
    const sas = this.#sas;
    const confirmed = sas ? this.#options.run('confirm', () => sas.confirm()) : Promise.resolve([]);
    const messages = await this.#untilEnded(confirmed);
    for (const message of messages) await this.#send(message);
    this.update();
    return this.#done.promise;
  }

  #cancel(code: string, reason: string): Promise<void> {
    if (this.#isOver) return this.#cancelled ?? Promise.resolve();
    const { crypto, info } = this.#options;
    this.#cancelInLibrary(code);
    this.#cancelled = sendCancel(crypto, info, code, reason).catch((error: unknown) => {
      throw stepFailure(this.#options.info, error);
    });
    this.#cancelled.catch(() => {}); // a later cancel() may wait for it
    this.#finish(endedError(this.#options.info, `this side has cancelled it (${code}: ${reason})`));
    return this.#cancelled;
  }

  /** What the library returns is not sent: it has no reason in plain words. */
  #cancelInLibrary(code: string): void {
    try {
      this.#sas?.cancelWithCode(code);
      this.#wasmRequest?.cancel();
    } catch (err) {
      const { userId } = this.#options.info;
      this.#context.logger.warn({ userId, err }, 'the crypto library cannot cancel a verification');
    }
  }

  /** Sends a message. A failure ends the verification, because the other side waits for the message. */
  async #send(message: OutgoingRequest | undefined): Promise<void> {
    if (!message) return;
    try {
      await this.#options.crypto.outgoingRequestProcessor.makeOutgoingRequest(message);
    } catch (error) {
      this.#fail(error);
      throw stepFailure(this.#options.info, error);
    }
  }

  #update(): void {
    if (this.#isOver) return;
    const request = this.#wasmRequest;
    if (request?.isCancelled()) return this.#finish(cancelledError(this.#options.info, request.cancelInfo));
    if (request?.isPassive())
      return this.#finish(endedError(this.#options.info, 'another device of the user has answered it'));
    this.#followLibrary();
    const sas = this.#sas;
    if (sas?.isCancelled()) return this.#finish(cancelledError(this.#options.info, sas.cancelInfo()));
    if (sas?.isDone()) return this.#finish();
    // The homeserver can claim it: this message is not authenticated.
    if (request?.isDone())
      return this.#finish(endedError(this.#options.info, 'it was declared done before both sides had confirmed'));
    if (!sas || !this.#accepted || this.#hasEmoji) return;
    // Returns a message if the other side has started, and this side has not agreed yet.
    if (request) void this.#send(sas.accept()).catch(() => {});
    const emoji = sas.emoji();
    if (!emoji) {
      if (sas.canBePresented()) this.end('m.unknown_method', 'Only emoji can be compared.');
      return;
    }
    this.#hasEmoji = true;
    this.#emoji.resolve(
      emoji.map((one) => {
        const { symbol, description: name } = one;
        one.free();
        return { symbol, name };
      }),
    );
  }

  /**
   * Takes the comparison that the library has, which changes when both sides start. Not once emoji were given out: the
   * homeserver can start another comparison, whose secret it knows, and that one would be confirmed.
   */
  #followLibrary(): void {
    const current = this.#hasEmoji ? undefined : this.#wasmRequest?.getVerification();
    if (!current) return;
    this.#sas?.free();
    this.#sas = current;
  }

  #fail(error: unknown): void {
    if (this.#isOver) return;
    const { userId, otherUserId } = this.#options.info;
    this.#context.logger.warn({ userId, otherUserId, err: error }, 'a step of a verification failed');
    this.end('m.user', 'A step of the verification failed.');
  }

  /** The only place that ends the verification. @param error - why it did not succeed */
  #finish(error?: MatrixClientManagerError): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const { clock } = this.#context;
    clock.clearTimeout(this.#expiry);
    if (this.#startTimer !== undefined) clock.clearTimeout(this.#startTimer);
    // These hold the machine's store, and with it the client, until they are freed.
    this.#sas?.free();
    this.#wasmRequest?.free();
    this.#options.onEnded();
    this.#emoji.reject(error ?? endedError(this.#options.info, 'it ended before there were emoji'));
    if (!error) return this.#done.resolve();
    this.#done.reject(error);
    this.#ended.abort(error);
  }

  /** Settles as `work` does, or rejects with the reason when the verification ends without success. */
  async #untilEnded<T>(work: Promise<T>): Promise<T> {
    const { signal } = this.#ended;
    try {
      return await orAborted(work, signal, 'a verification');
    } catch (error) {
      throw signal.aborted ? signal.reason : stepFailure(this.#options.info, error);
    }
  }
}
