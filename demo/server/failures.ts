import { httpStatus, isManagerError } from 'matrix-client-manager';

/** A request that this server refuses. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string) {
    super(code);
    this.status = status;
    this.code = code;
  }
}

export interface FailureAnswer {
  readonly status: number;
  readonly body: { readonly error: string };
  readonly retryAfterMs?: number | undefined;
}

/** The answer for what a request has failed with. Says what the caller can do, and nothing of what is inside. */
export function answerOf(error: unknown): FailureAnswer {
  if (error instanceof Refusal) return { status: error.status, body: { error: error.code } };
  if (!isManagerError(error)) {
    process.stderr.write(`A request failed: ${error instanceof Error ? error.stack : String(error)}\n`);
    return { status: 500, body: { error: 'INTERNAL' } };
  }
  return { status: httpStatus(error), body: { error: error.code }, retryAfterMs: error.retryAfterMs };
}
