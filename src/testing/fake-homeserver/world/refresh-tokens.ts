import { MatrixError, forbidden } from '../matrix-error.js';
import { randomToken } from '../random-ids.js';
import type { Session } from './sessions.js';

export interface RefreshToken {
  readonly token: string;
  readonly userId: string;
  readonly deviceId: string;
  /** The session that it renews. */
  readonly session: Session;
  /** Set once the outcome of its exchange has been used: from then on it is worth nothing. */
  spent: boolean;
  /** Undoes its last exchange. */
  undo?: () => void;
  /** Called once, at its first use. */
  onFirstUse?: (() => void) | undefined;
}

/** Refresh tokens with Synapse's rule: one may be exchanged again until the outcome of its exchange is used. */
export class RefreshTokens {
  readonly #byToken = new Map<string, RefreshToken>();

  issue(userId: string, deviceId: string, session: Session): RefreshToken {
    const token: RefreshToken = { token: randomToken('syr'), userId, deviceId, session, spent: false };
    this.#byToken.set(token.token, token);
    return token;
  }

  /** The token that goes by that name; throws in Synapse's words when it is none, or spent. */
  use(name: string): RefreshToken {
    if (!/^syr_[\w-]{32}$/.test(name)) throw new MatrixError(401, 'M_UNKNOWN_TOKEN', 'invalid refresh token');
    const token = this.#byToken.get(name);
    if (!token) throw new MatrixError(401, 'M_UNKNOWN_TOKEN', 'refresh token does not exist');
    if (token.spent) throw forbidden("refresh token isn't valid anymore");
    const { onFirstUse } = token;
    token.onFirstUse = undefined;
    onFirstUse?.();
    return token;
  }

  forget(name: string): void {
    this.#byToken.delete(name);
  }

  /** Forgets the tokens of a device, or of all devices of a user. */
  forgetDevice(userId: string, deviceId?: string): void {
    for (const token of this.#byToken.values()) {
      if (token.userId === userId && (deviceId === undefined || token.deviceId === deviceId)) {
        this.#byToken.delete(token.token);
      }
    }
  }
}
