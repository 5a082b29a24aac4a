import { MatrixClientManagerError } from '../core/errors.js';
import type { ErrorCode } from '../core/errors.js';

/** What an error says besides what the homeserver answered. */
export interface Subject {
  /** What was being done, as the start of a sentence: `sending a message`. */
  readonly operation: string;
  readonly userId?: string | undefined;
  readonly roomId?: string | undefined;
}

/** An HTTP answer, read to its end. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

const codeByErrcode: Readonly<Record<string, ErrorCode>> = {
  M_UNKNOWN_TOKEN: 'UNKNOWN_TOKEN',
  M_MISSING_TOKEN: 'UNKNOWN_TOKEN',
  M_LIMIT_EXCEEDED: 'RATE_LIMITED',
  M_USER_DEACTIVATED: 'USER_DEACTIVATED',
  M_USER_IN_USE: 'USER_EXISTS',
  M_INVALID_USERNAME: 'INVALID_USER_ID',
  M_UNRECOGNIZED: 'UNSUPPORTED',
  M_NOT_FOUND: 'NOT_FOUND',
  M_FORBIDDEN: 'FORBIDDEN',
};

/** The error for an answer that is not a success. Reads the Matrix error body where there is one. */
export function errorFromAnswer(answer: Answer, subject: Subject): MatrixClientManagerError {
  const body = parseErrorBody(answer.text);
  const code = codeFor(answer.status, body.errcode);
  const retryAfterMs = code === 'RATE_LIMITED' ? retryAfter(answer.headers, body.retryAfterMs) : undefined;
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
  const known = errcode === undefined ? undefined : codeByErrcode[errcode];
  if (known) return known;
  if (status === 401) return errcode === undefined ? 'UNKNOWN_TOKEN' : 'FORBIDDEN';
  if (status === 403) return 'FORBIDDEN';
  if (status === 404) return errcode === undefined ? 'INVALID_RESPONSE' : 'NOT_FOUND';
  if (status === 405) return 'UNSUPPORTED';
  if (status === 408) return 'TIMEOUT';
  return 'REJECTED';
}

function parseErrorBody(text: string): { errcode?: string; error?: string; retryAfterMs?: number } {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return {}; // not Matrix at all; the status alone has to do
  }
  if (typeof body !== 'object' || body === null) return {};
  const { errcode, error, retry_after_ms: retryAfterMs } = body as Record<string, unknown>;
  return {
    ...(typeof errcode === 'string' && { errcode: errcode.slice(0, 100) }),
    ...(typeof error === 'string' && { error: error.slice(0, 300) }),
    ...(typeof retryAfterMs === 'number' && retryAfterMs >= 0 && { retryAfterMs }),
  };
}

/** @see https://spec.matrix.org/v1.16/client-server-api/#rate-limiting : the header wins over the body's field. */
function retryAfter(headers: Headers, fromBody: number | undefined): number | undefined {
  const header = headers.get('retry-after');
  if (header !== null && /^\d+$/.test(header.trim())) return Number(header) * 1000;
  const server = Date.parse(headers.get('date') ?? '');
  const until = Date.parse(header ?? '');
  if (!Number.isNaN(server) && !Number.isNaN(until)) return Math.max(0, until - server);
  return fromBody;
}
