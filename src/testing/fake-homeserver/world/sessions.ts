import type { Clock } from '../../../core/clock.js';
import { MatrixError } from '../matrix-error.js';
import { randomToken } from '../random-ids.js';

/** An access token with its user and device. */
export interface Session {
  readonly accessToken: string;
  readonly userId: string;
  /** Missing for tokens that an admin has created for the user. */
  readonly deviceId?: string;
  /** The admin who created the token. It ends with the admin's own sessions. */
  readonly puppetedBy?: string;
  readonly expiresAt?: number;
  /** Called once, when the token is first used. */
  onFirstUse?: (() => void) | undefined;
}

/** The valid access tokens, and those ended by a soft logout. */
export class Sessions {
  readonly #clock: Clock;
  readonly #byToken = new Map<string, Session>();
  readonly #byUser = new Map<string, Set<Session>>();
  readonly #softLoggedOut = new Set<string>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  open(userId: string, details: Omit<Session, 'accessToken' | 'userId'>): Session {
    const session: Session = { ...details, accessToken: randomToken('syt'), userId };
    this.#byToken.set(session.accessToken, session);
    const own = this.#byUser.get(userId) ?? new Set();
    this.#byUser.set(userId, own.add(session));
    return session;
  }

  /** The session of a valid token. Does not count as a use. */
  peek(accessToken: string): Session | undefined {
    const session = this.#byToken.get(accessToken);
    return session?.expiresAt !== undefined && session.expiresAt <= this.#clock.now() ? undefined : session;
  }

  /** The session of a request's token. Throws 401 with Synapse's message without a valid token. */
  use(accessToken: string | undefined): Session {
    if (accessToken === undefined) throw new MatrixError(401, 'M_MISSING_TOKEN', 'Missing access token');
    const session = this.peek(accessToken);
    if (!session) {
      const expired = this.#byToken.has(accessToken);
      throw new MatrixError(
        401,
        'M_UNKNOWN_TOKEN',
        expired ? 'Access token has expired' : 'Invalid access token passed.',
        { soft_logout: expired || this.#softLoggedOut.has(accessToken) },
      );
    }
    const { onFirstUse } = session;
    session.onFirstUse = undefined;
    onFirstUse?.();
    return session;
  }

  /** @param softLogout - whether clients may log in again on the same device */
  close(session: Session, softLogout = false): void {
    this.#byToken.delete(session.accessToken);
    this.#byUser.get(session.userId)?.delete(session);
    if (softLogout) this.#softLoggedOut.add(session.accessToken);
  }

  /** The user's sessions, without those that an admin has opened for the user. */
  ofUser(userId: string): Session[] {
    return [...(this.#byUser.get(userId) ?? [])].filter((session) => session.puppetedBy === undefined);
  }

  /** The sessions that an admin has opened for other users. */
  puppetsOf(adminId: string): Session[] {
    return [...this.#byToken.values()].filter((session) => session.puppetedBy === adminId);
  }
}
