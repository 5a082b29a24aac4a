import { createHmac, randomBytes } from 'node:crypto';
import { MatrixError } from '../matrix-error.js';

/** `s`: a position of /sync; `t`: a position in a room, for /messages. */
type TokenKind = 's' | 't';

/** A position of /sync. */
interface Position {
  readonly position: number;
  /** The position in to-device messages, which a sync may return in part. */
  readonly toDevice: number;
}

/**
 * Converts stream positions to opaque tokens and back. Each token has a checksum over its kind with a secret of this
 * homeserver, so that a token of another kind or homeserver is refused.
 */
export class PositionTokens {
  readonly #secret = randomBytes(16);
  readonly #mask = randomBytes(4).readUInt32BE() >>> 1;

  /** @param toDevice - position of the last sent to-device message, if not all were sent */
  sync(position: number, toDevice = position): string {
    return this.#encode('s', position, toDevice);
  }

  history(position: number): string {
    return this.#encode('t', position, position);
  }

  /** Reads the `since` of a sync. */
  readSync(token: string): Position {
    const position = this.#decode('s', token);
    if (!position) throw new MatrixError(400, 'M_UNKNOWN', 'Invalid stream token');
    return position;
  }

  /** Reads the `from` or `to` of /messages, which may come from /messages or from /sync. */
  readHistory(token: string, parameter: string): number {
    const position = this.#decode('t', token) ?? this.#decode('s', token);
    if (!position) throw new MatrixError(400, 'M_UNKNOWN', `'${parameter}' parameter is invalid`);
    return position.position;
  }

  #encode(kind: TokenKind, position: number, toDevice: number): string {
    const parts = position === toDevice ? [position] : [position, toDevice];
    const masked = parts.map((part) => ((part ^ this.#mask) >>> 0).toString(36)).join('.');
    return `${kind}${masked}_${this.#check(kind, position, toDevice)}`;
  }

  #decode(kind: TokenKind, token: string): Position | undefined {
    const match = /^([st])([0-9a-z]{1,7})(?:\.([0-9a-z]{1,7}))?_([\w-]{8})$/.exec(token);
    if (match?.[1] !== kind) return undefined;
    const position = this.#unmasked(match[2] ?? '');
    const toDevice = match[3] === undefined ? position : this.#unmasked(match[3]);
    return match[4] === this.#check(kind, position, toDevice) ? { position, toDevice } : undefined;
  }

  #unmasked(text: string): number {
    return (Number.parseInt(text, 36) ^ this.#mask) >>> 0;
  }

  #check(kind: TokenKind, position: number, toDevice: number): string {
    const text = `${kind}${position}.${toDevice}`;
    return createHmac('sha256', this.#secret).update(text).digest('base64url').slice(0, 8);
  }
}
