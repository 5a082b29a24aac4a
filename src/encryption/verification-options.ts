import * as v from 'valibot';
import type { CallOptions } from '../core/call-options.js';
import { oneOf, optionsOf, signal } from '../core/validation.js';

/**
 * A request of another user, or of another device of the user, to verify each other by comparing emoji. It ends when both
 * sides have confirmed, when one of them cancels, at `expiresAt`, or when the client stops. After a failed end every step
 * rejects with `VERIFICATION_ENDED`.
 */
export interface VerificationRequest extends VerificationRequestInfo {
  /** When the request is cancelled if it has not ended by then, in milliseconds since the Unix epoch. */
  readonly expiresAt: number;
  /** Fires when the request has ended without success. The reason is the error with which the steps reject. */
  readonly signal: AbortSignal;
  /** Accepts the request, so that the other side goes on. Later calls repeat the result of the first one. */
  readonly accept: (options?: CallOptions) => Promise<void>;
  /**
   * Resolves to the seven emoji to compare with those that the other side shows. Accepts the request first, if `accept()`
   * was not called.
   */
  readonly emoji: (options?: CallOptions) => Promise<readonly VerificationEmoji[]>;
  /**
   * Says that the emoji are the same. Resolves when the other side has confirmed too: then both are verified. Rejects with
   * `INVALID_OPTIONS` before `emoji()` has resolved.
   */
  readonly confirm: (options?: CallOptions) => Promise<void>;
  /** Cancels the request, at any time and any number of times. Resolves when the other side was told. */
  readonly cancel: (options?: CancelVerificationOptions) => Promise<void>;
}

/** What a request for a verification says of itself. */
export interface VerificationRequestInfo {
  /** The user who is asked. */
  readonly userId: string;
  /** The user who asks: another one, or the same user on another device. */
  readonly otherUserId: string;
  /** The device that asks. */
  readonly otherDeviceId: string;
  /** The room in which the request was sent; undefined if it was sent to devices. */
  readonly roomId: string | undefined;
  /** Id of the verification: of the event in a room, otherwise chosen by the other side. */
  readonly transactionId: string;
}

/** One of the 64 emoji of the specification. @see https://spec.matrix.org/v1.16/client-server-api/#sas-method-emoji */
export interface VerificationEmoji {
  readonly symbol: string;
  /** The name in English. */
  readonly name: string;
}

export interface CancelVerificationOptions extends CallOptions {
  /** `'mismatch'`: the emoji differ, so somebody may read along. @default 'declined' */
  readonly reason?: 'declined' | 'mismatch' | undefined;
}

/** Handles a request. The request is cancelled if the function throws or rejects. */
export type OnVerificationRequest = (request: VerificationRequest) => void | Promise<void>;

/** A request that was received, and what became of it. */
export interface VerificationRequested extends VerificationRequestInfo {
  /**
   * `cancelled`: the other side was told that no person is there, or that the request cannot be served. `passed-on`: given
   * to `encryption.onVerificationRequest`. `other-device`: left to another signed device of the user.
   */
  readonly answer: 'cancelled' | 'passed-on' | 'other-device';
}

export const cancelVerificationSchema = optionsOf<CancelVerificationOptions>({
  signal: v.optional(signal),
  reason: v.optional(oneOf('declined', 'mismatch')),
});
