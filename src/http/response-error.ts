import { MatrixClientManagerError } from '../core/errors.js';
import type { ErrorCode } from '../core/errors.js';
import { withoutSecrets } from './secrets.js';
import type { Answer, AnswerHeaders } from './transport.js';

/** What an error says besides what the homeserver answered. */
export interface Subject {
  /** What was being done, as the start of a sentence: `sending a message`. */
  readonly operation: string;
  readonly userId?: string | undefined;
  readonly roomId?: string | undefined;
}

const codeByErrcode: ReadonlyMap<string, ErrorCode> = new Map([
  ['M_UNKNOWN_TOKEN', 'UNKNOWN_TOKEN'],
  ['M_MISSING_TOKEN', 'UNKNOWN_TOKEN'],
  ['M_LIMIT_EXCEEDED', 'RATE_LIMITED'],
  ['M_USER_DEACTIVATED', 'USER_DEACTIVATED'],
  ['M_USER_IN_USE', 'USER_EXISTS'],
  ['M_INVALID_USERNAME', 'INVALID_USER_ID'],
  ['M_UNRECOGNIZED', 'UNSUPPORTED'],
  ['M_NOT_FOUND', 'NOT_FOUND'],
  ['M_FORBIDDEN', 'FORBIDDEN'],
]);

/**
 * The error for an answer that is not a success. Reads the Matrix error body where there is one.
 * @param secrets - what the request held and the homeserver may repeat
 */
export function errorFromAnswer(
  answer: Answer,
  subject: Subject,
  secrets: readonly string[] = [],
): MatrixClientManagerError {
  const body = parseErrorBody(answer.text, secrets);
  const code = codeFor(answer.status, body.errcode);
  const mayAsk = code === 'RATE_LIMITED' || code === 'HOMESERVER_UNAVAILABLE';
  const retryAfterMs = mayAsk ? retryAfter(answer.headers, body.retryAfterMs) : undefined;
  const said = body.errcode ? `${body.errcode}${body.error ? `: ${body.error}` : ''}` : 'no Matrix error in the answer';
  const wait = retryAfterMs === undefined ? '' : `; the homeserver asks to wait ${retryAfterMs} ms`;
  return new MatrixClientManagerError(
    code,
    `${subject.operation} failed with HTTP status ${answer.status} (${said})${wait}`,
    { errcode: body.errcode, status: answer.status, retryAfterMs, userId: subject.userId, roomId: subject.roomId },
  );
}

/** The error for a success whose body is not what the endpoint promises. */
export function invalidResponse(subject: Subject, why: string, status: number): MatrixClientManagerError {
  return new MatrixClientManagerError(
    'INVALID_RESPONSE',
    `${subject.operation} got an answer that is not Matrix (${why}); check that \`homeserverUrl\` is the homeserver`,
    { status, userId: subject.userId, roomId: subject.roomId },
  );
}

function codeFor(status: number, errcode: string | undefined): ErrorCode {
  if (status === 429) return 'RATE_LIMITED';
  if (status >= 500) return 'HOMESERVER_UNAVAILABLE';
  if (status < 400) return 'INVALID_RESPONSE'; // a redirect that was not followed
  if (status === 408) return 'TIMEOUT';
  if (errcode === undefined) {
    // No homeserver says these without an errcode. What a proxy says of a token or a room is not to be believed.
    return status === 401 || status === 403 || status === 404 ? 'INVALID_RESPONSE' : 'REJECTED';
  }
  const known = codeByErrcode.get(errcode);
  if (known) return known;
  if (status === 401 || status === 403) return 'FORBIDDEN';
  if (status === 404) return 'NOT_FOUND';
  if (status === 405) return 'UNSUPPORTED';
  return 'REJECTED';
}

function parseErrorBody(
  text: string,
  secrets: readonly string[],
): { errcode?: string; error?: string; retryAfterMs?: number } {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return {}; // not Matrix at all; the status alone has to do
  }
  if (typeof body !== 'object' || body === null) return {};
  const { errcode, error, retry_after_ms: retryAfterMs } = body as Record<string, unknown>;
  return {
    ...(typeof errcode === 'string' && errcode !== '' && { errcode: withoutSecrets(errcode, secrets).slice(0, 100) }),
    ...(typeof error === 'string' && { error: withoutSecrets(error, secrets).slice(0, 300) }),
    ...(Number.isFinite(retryAfterMs) && Number(retryAfterMs) >= 0 && { retryAfterMs: Number(retryAfterMs) }),
  };
}

/** @see https://spec.matrix.org/v1.16/client-server-api/#rate-limiting : the header wins over the body's field. */
function retryAfter(headers: AnswerHeaders, fromBody: number | undefined): number | undefined {
  const header = headers.get('retry-after')?.trim() ?? '';
  if (/^\d+$/.test(header)) return Number(header) * 1000;
  const wait = httpDate(header) - httpDate(headers.get('date') ?? ''); // the homeserver's clock may not be ours
  return Number.isNaN(wait) ? fromBody : Math.max(0, wait);
}

/** Milliseconds since the Unix epoch, or NaN: `Date.parse` alone takes a number for a month. */
function httpDate(text: string): number {
  return /^[A-Z][a-z]{2,8}, .* GMT$/.test(text) ? Date.parse(text) : NaN;
}
