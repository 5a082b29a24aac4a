import { withoutSecrets } from './secrets.js';
import { isError } from '../core/is-error.js';

/** System codes of failures in which the request never reached the homeserver. */
const NEVER_SENT = new Set<string | undefined>([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
]);

/** What made a connection fail. */
export interface NetworkFailure {
  /** The system's code, such as `ECONNREFUSED`, found where fetch hides it; else the message. */
  readonly reason: string;
  /**
   * A copy of the innermost error that is safe to print: what fetch functions throw may hold the request, and that
   * its token.
   */
  readonly cause: Error;
}

export function networkFailure(error: unknown, secrets: readonly string[]): NetworkFailure {
  const root = rootCause(error);
  const said = isError(root) ? root.message : 'a fetch function threw what is no error';
  const cause = new Error(withoutSecrets(said, secrets));
  const code = codeOf(root);
  if (isError(root)) {
    cause.name = root.name;
    cause.stack = withoutSecrets(root.stack ?? '', secrets);
    if (code !== undefined) Object.assign(cause, { code, ...('syscall' in root && { syscall: root.syscall }) });
  }
  return { reason: code ?? cause.message, cause };
}

/** Whether the cause of a failure says that the homeserver never saw the request. */
export function wasNeverSent(cause: unknown): boolean {
  // A connection that was there can end as unreachable too, with the request on its way.
  const onTheWay = isError(cause) && 'syscall' in cause && ['read', 'write'].includes(String(cause.syscall));
  return NEVER_SENT.has(codeOf(cause)) && !onTheWay;
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
