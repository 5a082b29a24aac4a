import { MatrixClientManagerError } from '../core/errors.js';
import { decodeCursorText, encodeCursorText } from '../core/opaque-cursor.js';
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

/** Encodes a position as an opaque string that any process can decode. */
export function encodeCursor(roomId: string, position: PagePosition): string {
  return encodeCursorText(roomId, [VERSION, position.token ?? null, position.before ?? null]);
}

/** Decodes a cursor. Throws `INVALID_CURSOR` if it was altered, truncated, or made for another room. */
export function decodeCursor(roomId: string, cursor: unknown): PagePosition {
  const parsed = decodeCursorText(roomId, cursor);
  if (!Array.isArray(parsed) || parsed[0] !== VERSION) throw invalidCursor(roomId);
  const [, token, before] = parsed as unknown[];
  return {
    ...(typeof token === 'string' && { token }),
    ...(typeof before === 'string' && { before }),
  };
}

export function invalidCursor(roomId: string, cause?: unknown): MatrixClientManagerError {
  return new MatrixClientManagerError(
    'INVALID_CURSOR',
    `expected \`from\` to be the unchanged \`end\` of an earlier page of ${roomId}. Start again without \`from\``,
    { roomId, ...(isObject(cause) && { cause }) },
  );
}
