import { hash } from 'node:crypto';
import { MatrixClientManagerError } from '../core/errors.js';
import { isObject } from '../core/raw-event.js';

/** Where the next page begins. With neither field: at the newest event. */
export interface PagePosition {
  /** A pagination token of the homeserver. */
  readonly token?: string | undefined;
  /**
   * The oldest event of the pages so far; the next page begins right before it. If there is no `token`, `/context` returns
   * one for this event.
   */
  readonly before?: string | undefined;
}

const VERSION = 1;
const DIGEST_BYTES = 9;

/**
 * Encodes a position as an opaque string that any process can decode. The digest detects altered cursors and those of
 * another room. It is not a signature: the homeserver checks access, a cursor only names a position.
 */
export function encodeCursor(roomId: string, position: PagePosition): string {
  const body = JSON.stringify([VERSION, position.token ?? null, position.before ?? null]);
  return Buffer.concat([digest(roomId, body), Buffer.from(body)]).toString('base64url');
}

/** Decodes a cursor. Throws `INVALID_CURSOR` if it was altered, truncated, or made for another room. */
export function decodeCursor(roomId: string, cursor: unknown): PagePosition {
  if (typeof cursor !== 'string' || !/^[A-Za-z0-9_-]+$/.test(cursor)) throw invalidCursor(roomId);
  const bytes = Buffer.from(cursor, 'base64url');
  const body = bytes.subarray(DIGEST_BYTES).toString();
  if (!bytes.subarray(0, DIGEST_BYTES).equals(digest(roomId, body))) throw invalidCursor(roomId);
  // Different base64url strings can decode to the same bytes; only the canonical one is accepted.
  if (bytes.toString('base64url') !== cursor) throw invalidCursor(roomId);
  const parsed: unknown = JSON.parse(body);
  if (!Array.isArray(parsed) || parsed[0] !== VERSION) throw invalidCursor(roomId);
  const [, token, before] = parsed as unknown[];
  return {
    ...(typeof token === 'string' && { token }),
    ...(typeof before === 'string' && { before }),
  };
}

function digest(roomId: string, body: string): Buffer {
  return hash('sha256', `matrix-client-manager cursor\0${roomId}\0${body}`, 'buffer').subarray(0, DIGEST_BYTES);
}

export function invalidCursor(roomId: string, cause?: unknown): MatrixClientManagerError {
  return new MatrixClientManagerError(
    'INVALID_CURSOR',
    `expected \`from\` to be the unchanged \`end\` of an earlier page of ${roomId}. Start again without \`from\``,
    { roomId, ...(isObject(cause) && { cause }) },
  );
}
