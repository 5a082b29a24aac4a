import { withoutSecrets } from './secrets.js';
import { isError } from '../core/is-error.js';

/** Error codes of failures in which the request never reached the homeserver. */
const NEVER_SENT = new Set<string | undefined>([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
]);

/** Why a connection failed. */
export interface NetworkFailure {
  /** The system's error code, such as `ECONNREFUSED`, from the innermost cause. Without a code, that cause's message. */
  readonly reason: string;
  /**
   * A copy of the innermost error that is safe to log. The original may hold the request, and with it the access token.
   */
  readonly cause: Error;
}

export function networkFailure(error: unknown, secrets: readonly string[]): NetworkFailure {
  const root = rootCause(error);
  const message = isError(root) ? root.message : 'a fetch function threw a value that is not an Error';
  const cause = new Error(withoutSecrets(message, secrets));
  const code = codeOf(root);
  if (isError(root)) {
    cause.name = root.name;
    cause.stack = withoutSecrets(root.stack ?? '', secrets);
    if (code !== undefined) Object.assign(cause, { code, ...('syscall' in root && { syscall: root.syscall }) });
  }
  return { reason: code ?? cause.message, cause };
}

/** Whether the cause of a failure proves that the request never reached the homeserver. */
export function wasNeverSent(cause: unknown): boolean {
  // An open connection can also fail as unreachable, after a part of the request was sent.
  const wasConnected = isError(cause) && 'syscall' in cause && ['read', 'write'].includes(String(cause.syscall));
  return NEVER_SENT.has(codeOf(cause)) && !wasConnected;
}

function codeOf(error: unknown): string | undefined {
  return isError(error) && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

function rootCause(error: unknown): unknown {
  const seen = new Set<unknown>();
  let root = error;
  while (isError(root) && root.cause !== undefined && !seen.has(root)) {
    seen.add(root);
    root = root.cause;
  }
  return root;
}
