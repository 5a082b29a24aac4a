import { isManagerError } from 'matrix-client-manager';
import type { ErrorCode } from 'matrix-client-manager';

const hints: Partial<Record<ErrorCode, string>> = {
  NETWORK: 'Is MATRIX_HOMESERVER_URL right, and the homeserver running?',
  HOMESERVER_UNAVAILABLE: 'Is MATRIX_HOMESERVER_URL right, and the homeserver running?',
  INVALID_RESPONSE: 'Is MATRIX_HOMESERVER_URL the homeserver itself, and no website or redirect?',
  INVALID_USER_ID: 'MATRIX_ADMIN_USER is a full user id, such as @admin:example.org.',
  UNKNOWN_TOKEN: 'MATRIX_ADMIN_TOKEN is no token of this homeserver, or not any more.',
  FORBIDDEN: 'MATRIX_ADMIN_USER has to be a server admin, with the right MATRIX_ADMIN_PASSWORD or MATRIX_ADMIN_TOKEN.',
  RATE_LIMITED: 'docs/guide/preparing-synapse.md lists the rate limits that a backend needs raised.',
};

/** A failure of the demo, for somebody who sees the library for the first time. */
export function explain(error: unknown): string {
  if (!isManagerError(error)) return error instanceof Error ? error.message : String(error);
  const hint = hints[error.code];
  return `${error.code}: ${error.message}${hint ? `\n${hint}` : ''}`;
}
