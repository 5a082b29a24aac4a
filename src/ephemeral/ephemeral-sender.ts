import type { Clock } from '../core/clock.js';
import type { ManagerLifecycle } from '../core/lifecycle.js';
import type { Logger } from '../core/logger.js';
import type { HomeserverHttp } from '../http/homeserver-http.js';
import type { Session } from '../http/session.js';
import { ReceiptSender } from './receipt-sender.js';
import type { SendReadReceiptOptions } from './send-read-receipt-options.js';
import type { SendTypingOptions } from './send-typing-options.js';
import { TypingNotifier } from './typing-notifier.js';

export interface EphemeralSenderOptions {
  readonly http: HomeserverHttp;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly lifecycle: ManagerLifecycle;
}

/** Compares events in the timelines of the user's client. */
export interface EventOrder {
  /** Whether event `a` equals `b` or precedes it in the room; undefined if unknown. */
  isNotAfter(roomId: string, a: string, b: string): boolean | undefined;
}

/** The access token to send with, and the user's client if it runs. */
export interface EphemeralCaller {
  readonly session: Session;
  readonly userSession?: EventOrder;
}

/** Sends typing notifications and read receipts. */
export class EphemeralSender {
  readonly #options: EphemeralSenderOptions;
  readonly #typing: TypingNotifier;
  readonly #receipts: ReceiptSender;

  constructor(options: EphemeralSenderOptions) {
    this.#options = options;
    this.#typing = new TypingNotifier(options.http, options.clock);
    this.#receipts = new ReceiptSender(options.http);
  }

  sendTyping(
    { session }: EphemeralCaller,
    { roomId, typing, timeoutMs = 30_000 }: SendTypingOptions,
    signal: AbortSignal,
  ): Promise<void> {
    return this.#typing.set(session, roomId, typing, timeoutMs, signal);
  }

  /** Ends the user's typing notification after a message, if there is one. A failure is only logged, because the message was sent before. */
  async endTyping(session: Session, roomId: string): Promise<void> {
    const { lifecycle, logger } = this.#options;
    const { userId } = session;
    if (!this.#typing.isTyping(userId, roomId)) return;
    await this.#typing.set(session, roomId, false, 0, lifecycle.signal).catch((error: unknown) => {
      logger.debug({ userId, roomId, err: error }, 'ending a typing notification failed');
    });
  }

  sendReadReceipt(
    { session, userSession }: EphemeralCaller,
    { roomId, eventId, private: isPrivate = false }: SendReadReceiptOptions,
    signal: AbortSignal,
  ): Promise<void> {
    const receipt = { roomId, eventId, isPrivate, signal };
    return this.#receipts.send(session, receipt, (a, b) => userSession?.isNotAfter(roomId, a, b));
  }
}
