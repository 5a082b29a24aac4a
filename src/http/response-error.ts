import { MatrixClientManagerError } from '../core/errors.js';
import type { ErrorCode } from '../core/errors.js';
import { withoutSecrets } from './secrets.js';
import type { HttpResponse, HttpHeaders } from '../core/ports/transport.js';

/** What an error says besides what the homeserver answered. */
export interface RequestContext {
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

const mayAskToWait: ReadonlySet<ErrorCode> = new Set(['RATE_LIMITED', 'HOMESERVER_UNAVAILABLE', 'INVALID_RESPONSE']);

/**
 * The error for an answer that is not a success. Reads the Matrix error body where there is one.
 * @param secrets - what the request held and the homeserver may repeat
 */
export function errorFromResponse(
  answer: HttpResponse,
  subject: RequestContext,
  secrets: readonly string[] = [],
): MatrixClientManagerError {
  const body = parseErrorBody(answer.text, secrets);
  const code = codeFor(answer.status, body);
  const retryAfterMs = mayAskToWait.has(code) ? retryAfter(answer.headers, body.retryAfterMs) : undefined;
  const said = body.errcode ? `${body.errcode}${body.error ? `: ${body.error}` : ''}` : saidWithout(body);
  const remedy = code === 'INVALID_RESPONSE' ? '; check `homeserverUrl`, and the proxy in front of the homeserver' : '';
  const wait = retryAfterMs === undefined ? '' : `; the homeserver asks to wait ${retryAfterMs} ms`;
  return new MatrixClientManagerError(
    code,
    `${subject.operation} failed with HTTP status ${answer.status} (${said})${wait}${remedy}`,
    { errcode: body.errcode, status: answer.status, retryAfterMs, userId: subject.userId, roomId: subject.roomId },
  );
}

/** Whether the body of a refusal is one that homeservers send. */
export function isMatrixError(text: string): boolean {
  const { errcode, asksToAuthenticate } = parseErrorBody(text, []);
  return errcode !== undefined || asksToAuthenticate === true;
}

/**
 * Whether the text begins and ends as an object or an array does: tells HTML and most cut bodies from JSON without the
 * cost of parsing.
 */
export function isJsonLike(text: string): boolean {
  const trimmed = text.trim();
  const ends = `${trimmed.at(0)}${trimmed.at(-1)}`;
  return ends === '{}' || ends === '[]';
}

/** The error for a success whose body is not what the endpoint promises. */
export function invalidResponse(subject: RequestContext, why: string, status: number): MatrixClientManagerError {
  return new MatrixClientManagerError(
    'INVALID_RESPONSE',
    `${subject.operation} got an answer that is not Matrix (${why}); check that \`homeserverUrl\` is the homeserver`,
    { status, userId: subject.userId, roomId: subject.roomId },
  );
}

function saidWithout({ asksToAuthenticate }: ErrorBody): string {
  return asksToAuthenticate ? 'user-interactive authentication is asked for' : 'no Matrix error in the answer';
}

function codeFor(status: number, { errcode, asksToAuthenticate }: ErrorBody): ErrorCode {
  if (status === 429) return 'RATE_LIMITED';
  if (status >= 500) return 'HOMESERVER_UNAVAILABLE';
  if (status < 400) return 'INVALID_RESPONSE'; // a redirect that was not followed
  if (status === 408) return 'TIMEOUT';
  if (status === 401 && asksToAuthenticate) return 'FORBIDDEN';
  // A homeserver refuses with an errcode. Without one the answer comes from a proxy, whatever its status.
  if (errcode === undefined) return 'INVALID_RESPONSE';
  const known = codeByErrcode.get(errcode);
  if (known) return known;
  if (status === 401 || status === 403) return 'FORBIDDEN';
  if (status === 404) return 'NOT_FOUND';
  if (status === 405) return 'UNSUPPORTED';
  return 'REJECTED';
}

interface ErrorBody {
  readonly errcode?: string;
  readonly error?: string;
  readonly retryAfterMs?: number;
  /** @see https://spec.matrix.org/v1.16/client-server-api/#user-interactive-authentication-api : has no errcode */
  readonly asksToAuthenticate?: boolean;
}

function parseErrorBody(text: string, secrets: readonly string[]): ErrorBody {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    // not Matrix at all; the status alone has to do
  }
  const { errcode, error, retry_after_ms: retryAfterMs, flows } = (body ?? {}) as Record<string, unknown>;
  return {
    ...(typeof errcode === 'string' && errcode !== '' && { errcode: withoutSecrets(errcode, secrets).slice(0, 100) }),
    ...(typeof error === 'string' && { error: withoutSecrets(error, secrets).slice(0, 300) }),
    ...(Number.isFinite(retryAfterMs) && Number(retryAfterMs) >= 0 && { retryAfterMs: Number(retryAfterMs) }),
    asksToAuthenticate: Array.isArray(flows),
  };
}

/** The longest time that a Node timer takes: an application may pass `retryAfterMs` to one. */
const MAX_RETRY_AFTER_MS = 2 ** 31 - 1;

/** @see https://spec.matrix.org/v1.16/client-server-api/#rate-limiting : the header wins over the body's field. */
function retryAfter(headers: HttpHeaders, fromBody: number | undefined): number | undefined {
  const ms = headerMs(headers) ?? fromBody;
  return ms === undefined ? undefined : Math.min(Math.max(0, ms), MAX_RETRY_AFTER_MS);
}

function headerMs(headers: HttpHeaders): number | undefined {
  const header = headers.get('retry-after')?.trim() ?? '';
  // A proxy may add a header of its own; several of one name come joined by commas.
  if (/^\d+(\s*,\s*\d+)*$/.test(header)) return Math.max(...header.split(',').map(Number)) * 1000;
  const wait = httpDate(header) - httpDate(headers.get('date') ?? ''); // the homeserver's clock may not be ours
  return Number.isNaN(wait) ? undefined : wait;
}

/** Milliseconds since the Unix epoch, or NaN: `Date.parse` alone takes a number for a month. */
function httpDate(text: string): number {
  return /^[A-Z][a-z]{2,8}, .* GMT$/.test(text) ? Date.parse(text) : NaN;
}
