import { MatrixClientManagerError } from '../core/errors.js';
import type { ErrorCode } from '../core/errors.js';
import { withoutSecrets } from './secrets.js';
import type { HttpResponse, HttpHeaders } from '../core/ports/transport.js';

/** The context of a request, for its errors. */
export interface RequestContext {
  /** The operation, as the subject of a sentence, such as `sending a message`. */
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

const codesWithRetryAfter: ReadonlySet<ErrorCode> = new Set([
  'RATE_LIMITED',
  'HOMESERVER_UNAVAILABLE',
  'INVALID_RESPONSE',
]);

/**
 * The error for a response with an error status. Uses the Matrix error in the body, if there is one.
 * @param secrets - values in the request that are removed from the message, since the homeserver may repeat them
 */
export function errorFromResponse(
  response: HttpResponse,
  context: RequestContext,
  secrets: readonly string[] = [],
): MatrixClientManagerError {
  const body = parseErrorBody(response.text, secrets);
  const code = codeFor(response.status, body);
  const retryAfterMs = codesWithRetryAfter.has(code) ? retryAfter(response.headers, body.retryAfterMs) : undefined;
  const description = body.errcode
    ? `${body.errcode}${body.error ? `: ${body.error}` : ''}`
    : describeWithoutErrcode(body);
  const remedy = code === 'INVALID_RESPONSE' ? '; check `homeserverUrl`, and the proxy in front of the homeserver' : '';
  const wait = retryAfterMs === undefined ? '' : `; the homeserver asks to wait ${retryAfterMs} ms`;
  return new MatrixClientManagerError(
    code,
    `${context.operation} failed with HTTP status ${response.status} (${description})${wait}${remedy}`,
    { errcode: body.errcode, status: response.status, retryAfterMs, userId: context.userId, roomId: context.roomId },
  );
}

/** The delay before a retry that an error response asks for, in milliseconds, or undefined. */
export function retryAfterMsOf({ headers, text }: HttpResponse): number | undefined {
  return retryAfter(headers, parseErrorBody(text, []).retryAfterMs);
}

/** Whether the body of an error response is a Matrix error, or a request for user-interactive authentication. */
export function isMatrixError(text: string): boolean {
  const { errcode, requiresInteractiveAuth } = parseErrorBody(text, []);
  return errcode !== undefined || requiresInteractiveAuth === true;
}

/**
 * Whether the text begins and ends like a JSON object or array. Detects HTML and most truncated bodies without parsing
 * the text.
 */
export function isJsonLike(text: string): boolean {
  const trimmed = text.trim();
  const ends = `${trimmed.at(0)}${trimmed.at(-1)}`;
  return ends === '{}' || ends === '[]';
}

/** The error for a success response whose body does not match the specification. */
export function invalidResponse(context: RequestContext, why: string, status: number): MatrixClientManagerError {
  return new MatrixClientManagerError(
    'INVALID_RESPONSE',
    `${context.operation} got a response that is not valid Matrix (${why}); check that \`homeserverUrl\` is the homeserver`,
    { status, userId: context.userId, roomId: context.roomId },
  );
}

function describeWithoutErrcode({ requiresInteractiveAuth }: ErrorBody): string {
  return requiresInteractiveAuth ? 'user-interactive authentication is required' : 'no Matrix error in the response';
}

function codeFor(status: number, { errcode, requiresInteractiveAuth }: ErrorBody): ErrorCode {
  if (status === 429) return 'RATE_LIMITED';
  if (status >= 500) return 'HOMESERVER_UNAVAILABLE';
  if (status < 400) return 'INVALID_RESPONSE'; // a redirect that was not followed
  if (status === 408) return 'TIMEOUT';
  if (status === 401 && requiresInteractiveAuth) return 'FORBIDDEN';
  // Homeservers send an errcode with every error. A response without one comes from a proxy.
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
  /** Has no errcode. @see https://spec.matrix.org/v1.16/client-server-api/#user-interactive-authentication-api */
  readonly requiresInteractiveAuth?: boolean;
}

function parseErrorBody(text: string, secrets: readonly string[]): ErrorBody {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    // not a Matrix error: the code is chosen by the status alone
  }
  const { errcode, error, retry_after_ms: retryAfterMs, flows } = (body ?? {}) as Record<string, unknown>;
  return {
    ...(typeof errcode === 'string' && errcode !== '' && { errcode: withoutSecrets(errcode, secrets).slice(0, 100) }),
    ...(typeof error === 'string' && { error: withoutSecrets(error, secrets).slice(0, 300) }),
    ...(Number.isFinite(retryAfterMs) && { retryAfterMs: Number(retryAfterMs) }),
    requiresInteractiveAuth: Array.isArray(flows),
  };
}

/** The longest delay of a Node timer: an application may pass `retryAfterMs` to one. */
const MAX_RETRY_AFTER_MS = 2 ** 31 - 1;

/** The header takes precedence over the body. @see https://spec.matrix.org/v1.16/client-server-api/#rate-limiting */
function retryAfter(headers: HttpHeaders, fromBody: number | undefined): number | undefined {
  const ms = headerMs(headers) ?? fromBody;
  return ms === undefined ? undefined : Math.min(Math.max(0, ms), MAX_RETRY_AFTER_MS);
}

function headerMs(headers: HttpHeaders): number | undefined {
  const header = headers.get('retry-after')?.trim() ?? '';
  // A proxy may add a second header. Headers with the same name are joined by commas.
  if (/^\d+(\s*,\s*\d+)*$/.test(header)) return Math.max(...header.split(',').map(Number)) * 1000;
  const wait = httpDate(header) - httpDate(headers.get('date') ?? ''); // by the homeserver's clock
  return Number.isNaN(wait) ? undefined : wait;
}

/** Milliseconds since the Unix epoch, or NaN. The pattern is needed because `Date.parse` reads a bare number as a month. */
function httpDate(text: string): number {
  return /^[A-Z][a-z]{2,8}, .* GMT$/.test(text) ? Date.parse(text) : NaN;
}
