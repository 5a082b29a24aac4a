import { MatrixError, forbidden } from '../matrix-error.js';
import { randomToken } from '../random-ids.js';
import type { Session } from './sessions.js';

export interface RefreshToken {
  readonly token: string;
  readonly userId: string;
  readonly deviceId: string;
  /** The session that the token renews. */
  readonly session: Session;
  /** True once the tokens of its exchange have been used. The token is invalid from then on. */
  spent: boolean;
  /** Revokes the tokens of its last exchange. */
  undo?: () => void;
  /** Called once, when the token is first used. */
  onFirstUse?: (() => void) | undefined;
}

/** Refresh tokens by Synapse's rule: a token can be exchanged again until the new tokens are used. */
export class RefreshTokens {
  readonly #byToken = new Map<string, RefreshToken>();

  issue(userId: string, deviceId: string, session: Session): RefreshToken {
    const token: RefreshToken = { token: randomToken('syr'), userId, deviceId, session, spent: false };
    this.#byToken.set(token.token, token);
    return token;
  }

  /** Returns the token, and marks it as used. Throws Synapse's error if it is unknown or spent. */
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
