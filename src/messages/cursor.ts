import { createHash } from 'node:crypto';
import { MatrixClientManagerError } from '../core/errors.js';
import { isObject } from '../core/raw-event.js';

/**
 * Where a page ended. `before`: right before that event. `token`: a homeserver's token; of what it gives, everything
 * up to and including `before` has been seen already where both are there.
 */
export interface Position {
  readonly token?: string | undefined;
  readonly before?: string | undefined;
}

const VERSION = 1;
const DIGEST_BYTES = 9;

/**
 * Writes a position as an opaque text that any process can read. The digest tells alterations and mix-ups; it is no
 * signature, and need not be one: a cursor says where to read, and the homeserver decides who may.
 */
export function encodeCursor(roomId: string, position: Position): string {
  const body = JSON.stringify([VERSION, position.token ?? null, position.before ?? null]);
  return Buffer.concat([digest(roomId, body), Buffer.from(body)]).toString('base64url');
}

/** Reads a cursor; rejects with `INVALID_CURSOR` what was altered, cut, or made for another room. */
export function decodeCursor(roomId: string, cursor: unknown): Position {
  if (typeof cursor !== 'string' || !/^[A-Za-z0-9_-]+$/.test(cursor)) throw invalidCursor(roomId);
  const bytes = Buffer.from(cursor, 'base64url');
  const body = bytes.subarray(DIGEST_BYTES).toString();
  if (!bytes.subarray(0, DIGEST_BYTES).equals(digest(roomId, body))) throw invalidCursor(roomId);
  // A text can have several base64url spellings; only ours is a cursor of ours.
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
  return createHash('sha256')
    .update(`matrix-client-manager cursor\0${roomId}\0${body}`)
    .digest()
    .subarray(0, DIGEST_BYTES);
}

export function invalidCursor(roomId: string, cause?: unknown): MatrixClientManagerError {
  return new MatrixClientManagerError(
    'INVALID_CURSOR',
    `expected \`from\` to be the \`end\` of an earlier page of ${roomId}, unchanged; it is not. Start again without it`,
    { roomId, ...(isObject(cause) && { cause }) },
  );
}
