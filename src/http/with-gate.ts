import { orAborted, throwIfAborted } from '../core/abort.js';
import type { Context } from '../core/context.js';
import type { RequestResult } from '../core/diagnostic-messages.js';
import { isManagerError } from '../core/errors.js';
import type { AdmissionRequest, RequestGate, RequestOutcome } from '../core/ports/request-gate.js';
import { failureClass } from './failure-class.js';

interface GatedRequest extends AdmissionRequest {
  readonly method: string;
  /** Without origin and query. */
  readonly path: string;
  /** Template of the path, for an endpoint that the library does not know. */
  readonly template?: string | undefined;
  /**
   * Called when the gate has admitted the request, just before it is sent, at each attempt. If it rejects, nothing is sent.
   * For what may have changed while the request waited.
   */
  readonly beforeSend?: (() => Promise<void>) | undefined;
}

interface Exchange<Answer extends { readonly status: number }, Result> {
  /**
   * Resolves with the homeserver's response, whatever its status. Rejects if there is none.
   * @param record - records the outcome at the gate before there is a response. Has no effect the second time
   */
  readonly send: (record: (failed: boolean) => void) => Promise<Answer>;
  /** Returns the result for the caller, or throws the error for a response that is not a success. */
  readonly read: (answer: Answer) => Result;
  /** Whether a rejection of `send` counts as a failure of the homeserver. @default unless the request was ended on purpose */
  readonly isFault?: (error: unknown) => boolean;
}

/** Sends one request when the gate admits it. Tells the gate how it ended, and publishes it. */
export async function withGate<Answer extends { readonly status: number }, Result>(
  { clock, gate, diagnostics }: Pick<Context, 'clock' | 'diagnostics'> & { readonly gate: RequestGate },
  { method, path, template, beforeSend, ...request }: GatedRequest,
  { send, read, isFault = wasNotEndedOnPurpose }: Exchange<Answer, Result>,
): Promise<Result> {
  const { operation, userId, priority, signal } = request;
  let sentAt: number | undefined;
  let unrecorded: Omit<RequestOutcome, 'failed'> | undefined;
  const record = (failed: boolean): void => {
    if (unrecorded) gate.record({ ...unrecorded, failed });
    unrecorded = undefined;
  };
  const ended = (result: RequestResult, status: number | undefined): void => {
    const durationMs = sentAt === undefined ? undefined : clock.now() - sentAt;
    diagnostics.publish('request', { method, path, template, result, status, durationMs });
  };
  try {
    throwIfAborted(signal, operation);
    await gate.enter(request);
    if (beforeSend) await orAborted(beforeSend(), signal, operation);
    throwIfAborted(signal, operation);
    sentAt = clock.now();
    unrecorded = { userId, isSync: priority === 'sync', sentAt };
    const answer = await send(record);
    record(answer.status >= 500);
    const result = read(answer);
    ended('ok', answer.status);
    return result;
  } catch (error) {
    if (isFault(error)) record(true);
    ended(signal?.aborted ? 'aborted' : failureClass(error), isManagerError(error) ? error.status : undefined);
    throw error;
  }
}

function wasNotEndedOnPurpose(error: unknown): boolean {
  return !['aborted', 'unavailable'].includes(failureClass(error));
}
