import { MatrixClientManagerError } from '../core/errors.js';
import { decodeCursorText, encodeCursorText } from '../core/opaque-cursor.js';
import { isObject } from '../core/raw-event.js';

/** Where the next page begins. With neither field: at the newest event. "Beyond" is in the direction of the reading. */
export interface PagePosition {
  /** A pagination token of the homeserver. */
  readonly token?: string | undefined;
  /**
   * The last event of the pages so far; the next page begins right beyond it. If there is no `token`, `/context` returns one
   * for this event.
   */
  readonly beyond?: string | undefined;
  /**
   * Events that were read already although the homeserver has them after `beyond`, in the order in which they were read.
   * They are left out. In memory, reading goes on after the last of them.
   */
  readonly read?: readonly string[] | undefined;
}

const VERSION = 1;

/**
 * Encodes a position as an opaque string that any process can decode.
 * @param scope - what the position is valid for: the room, and the way of reading
 */
export function encodeCursor(scope: string, { token, beyond, read }: PagePosition): string {
  return encodeCursorText(scope, [VERSION, token ?? null, beyond ?? null, ...(read ? [read] : [])]);
}

/** Decodes a cursor. Throws `INVALID_CURSOR` if it was altered, truncated, or made for another scope. */
export function decodeCursor(scope: string, cursor: unknown, roomId: string): PagePosition {
  const parsed = decodeCursorText(scope, cursor);
  if (!Array.isArray(parsed) || parsed[0] !== VERSION) throw invalidCursor(roomId);
  const [, token, beyond, read] = parsed as unknown[];
  return {
    ...(typeof token === 'string' && { token }),
    ...(typeof beyond === 'string' && { beyond }),
    ...(Array.isArray(read) && { read: read.filter((id) => typeof id === 'string') }),
  };
}

export function invalidCursor(roomId: string, cause?: unknown): MatrixClientManagerError {
  return new MatrixClientManagerError(
    'INVALID_CURSOR',
    `expected \`from\` to be the unchanged \`end\` of an earlier page of ${roomId}, and the other options to be those of that page. Start again without \`from\``,
    { roomId, ...(isObject(cause) && { cause }) },
  );
}
