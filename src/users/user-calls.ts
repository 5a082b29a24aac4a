import type { CallbackRegistry } from '../callbacks/callback-registry.js';
import { throwIfAborted } from '../core/abort.js';
import { invalidOptions } from '../core/errors.js';
import type { ManagerLifecycle } from '../core/lifecycle.js';
import type { Session } from '../http/session.js';
import type { Accounts } from '../provisioning/accounts.js';
import type { ClientRegistry } from './client-registry.js';
import type { UserSession } from './user-session.js';

/** The session that a call is made with; `userSession` is set while the user's client is up. */
export interface CallerSession {
  readonly session: Session;
  readonly userSession?: UserSession;
}

export interface UserCallsOptions {
  readonly registry: ClientRegistry<UserSession>;
  readonly accounts: Accounts;
  /** The session of the option `admin`. */
  readonly adminSession: Session | undefined;
  readonly callbacks: CallbackRegistry;
  readonly lifecycle: ManagerLifecycle;
}

/** Runs calls as one of the users. */
export class UserCalls {
  readonly #options: UserCallsOptions;

  constructor(options: UserCallsOptions) {
    this.#options = options;
  }

  /**
   * Runs `use` with the user's client, which is started if needed. The client is not stopped as idle or evicted until
   * `use` has ended, even if `signal` has ended the caller's wait before.
   */
  async withLease<T>(
    userId: string,
    use: (userSession: UserSession) => T | Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    const { lifecycle, registry } = this.#options;
    const lease = await lifecycle.untilCallsAborted(registry.lease(userId, signal));
    const releaseLease = (): void => lease[Symbol.dispose]();
    const running = (async () => {
      throwIfAborted(signal, 'the call');
      return use(lease.client);
    })();
    running.then(releaseLease, releaseLease);
    return lifecycle.untilCallsAborted(running, signal);
  }

  /**
   * Runs `use` as the user. With their client, if it runs or the user has callbacks: it is started then. Otherwise with
   * their session alone, since a client without callbacks would deliver nothing. The signal that `use` gets is also
   * aborted by the shutdown.
   */
  async runAs<T>(
    userId: string,
    use: (caller: CallerSession, signal: AbortSignal) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    const { accounts, callbacks, lifecycle, registry } = this.#options;
    const untilClosed = lifecycle.withShutdownSignal(signal);
    if (registry.has(userId) || callbacks.count(userId) > 0) {
      return this.withLease(
        userId,
        (userSession) =>
          withFailureReport(userSession, use({ session: userSession.session, userSession }, untilClosed)),
        signal,
      );
    }
    const session = await lifecycle.untilCallsAborted(accounts.sessionOf(userId, signal), signal);
    return lifecycle.untilCallsAborted(use({ session }, untilClosed), signal);
  }

  /**
   * Runs `use` with the session to read as the user, and with their client if it runs. Starts no client. Without a
   * `userId` the admin reads. The signal that `use` gets is also aborted by the shutdown.
   */
  async readAs<T>(
    userId: string | undefined,
    use: (reader: CallerSession, signal: AbortSignal) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    const { lifecycle } = this.#options;
    const untilClosed = lifecycle.withShutdownSignal(signal);
    const reader = await lifecycle.untilCallsAborted(this.#readerFor(userId, untilClosed), signal);
    return lifecycle.untilCallsAborted(use(reader, untilClosed), signal);
  }

  async #readerFor(userId: string | undefined, signal: AbortSignal): Promise<CallerSession> {
    const { accounts, adminSession, registry } = this.#options;
    if (userId === undefined) {
      if (adminSession) return { session: adminSession };
      const message = 'expected `userId`: without it the account of the option `admin` reads, and the manager has none';
      throw invalidOptions(message);
    }
    const userSession = registry.get(userId);
    if (!userSession) return { session: await accounts.sessionOf(userId, signal) };
    registry.touch(userId);
    return { session: userSession.session, userSession };
  }
}

/** Waits for `request`. Reports its failure to the user's session, which drops what it holds of a refused room. */
async function withFailureReport<T>(userSession: UserSession, request: Promise<T>): Promise<T> {
  try {
    return await request;
  } catch (error) {
    userSession.requestFailed(error);
    throw error;
  }
}
