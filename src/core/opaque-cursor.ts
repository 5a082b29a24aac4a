import { hash } from 'node:crypto';

const DIGEST_BYTES = 9;

/**
 * Encodes a JSON value as an opaque text that any process can decode. The digest detects altered texts and those of
 * another scope. It is not a signature: the homeserver checks access, a cursor only names a position.
 */
export function encodeCursorText(scope: string, value: unknown): string {
  const body = JSON.stringify(value);
  return Buffer.concat([digest(scope, body), Buffer.from(body)]).toString('base64url');
}

/** Decodes a cursor; undefined if it was altered, truncated, or made for another scope. */
export function decodeCursorText(scope: string, cursor: unknown): unknown {
  if (typeof cursor !== 'string' || !/^[A-Za-z0-9_-]+$/.test(cursor)) return undefined;
  const bytes = Buffer.from(cursor, 'base64url');
  const body = bytes.subarray(DIGEST_BYTES).toString();
  if (!bytes.subarray(0, DIGEST_BYTES).equals(digest(scope, body))) return undefined;
  // Different base64url strings can decode to the same bytes; only the canonical one is accepted.
  return bytes.toString('base64url') === cursor ? JSON.parse(body) : undefined;
}

function digest(scope: string, body: string): Buffer {
  return hash('sha256', `matrix-client-manager cursor\0${scope}\0${body}`, 'buffer').subarray(0, DIGEST_BYTES);
}
