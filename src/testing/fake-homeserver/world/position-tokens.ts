import { createHmac, randomBytes } from 'node:crypto';
import { MatrixError } from '../matrix-error.js';

/** `s`: what /sync gives and takes; `t`: a place in a room's history, for /messages. */
type TokenKind = 's' | 't';

/**
 * Turns stream positions into tokens that tell a client nothing and back. Each carries a check that depends on its
 * kind and on this homeserver, so that no token is ever taken for another.
 */
export class PositionTokens {
  readonly #secret = randomBytes(16);
  readonly #mask = randomBytes(4).readUInt32BE() >>> 1;

  sync(position: number): string {
    return this.#encode('s', position);
  }

  history(position: number): string {
    return this.#encode('t', position);
  }

  /** Reads the `since` of a sync. */
  readSync(token: string): number {
    const position = this.#decode('s', token);
    if (position === undefined) throw new MatrixError(400, 'M_UNKNOWN', 'Invalid stream token');
    return position;
  }

  /** Reads the `from` or `to` of /messages, which may come from /messages or from /sync. */
  readHistory(token: string, parameter: string): number {
    const position = this.#decode('t', token) ?? this.#decode('s', token);
    if (position === undefined) throw new MatrixError(400, 'M_UNKNOWN', `'${parameter}' parameter is invalid`);
    return position;
  }

  #encode(kind: TokenKind, position: number): string {
    const masked = (position ^ this.#mask) >>> 0;
    return `${kind}${masked.toString(36)}_${this.#check(kind, position)}`;
  }

  #decode(kind: TokenKind, token: string): number | undefined {
    const match = /^([st])([0-9a-z]{1,7})_([\w-]{8})$/.exec(token);
    if (match?.[1] !== kind) return undefined;
    const position = (Number.parseInt(match[2] ?? '', 36) ^ this.#mask) >>> 0;
    return match[3] === this.#check(kind, position) ? position : undefined;
  }

  #check(kind: TokenKind, position: number): string {
    return createHmac('sha256', this.#secret).update(`${kind}${position}`).digest('base64url').slice(0, 8);
  }
}
