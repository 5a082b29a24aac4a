import type { CallbackRegistry } from '../callbacks/callback-registry.js';
import { orAborted, throwIfAborted } from '../core/abort.js';
import { invalidOptions, MatrixClientManagerError } from '../core/errors.js';
import type { ManagerLifecycle } from '../core/lifecycle.js';
import { needsDecryption } from '../core/raw-event.js';
import type { EncryptedRooms } from '../encryption/encrypted-rooms.js';
import { encryptionFailure } from '../encryption/encryption-failure.js';
import type { Session } from '../http/session.js';
import type { PageDecryption } from '../messages/page-request.js';
import type { Accounts } from '../provisioning/accounts.js';
import type { UserEncryption } from '../sdk/crypto/user-encryption.js';
import type { ClientRegistry } from './client-registry.js';
import type { Encryption } from './encryption.js';
import type { UserSession } from './user-session.js';

/** The session that a call is made with; `userSession` is set while the user's client is up. */
export interface CallerSession {
  readonly session: Session;
  readonly userSession?: UserSession;
}

/** Makes the requests of a call. The signal is also aborted by the shutdown. */
type CallBody<T> = (caller: CallerSession, signal: AbortSignal) => Promise<T>;

export interface UserCallsOptions {
  readonly registry: ClientRegistry<UserSession>;
  readonly accounts: Accounts;
  /** The session of the option `admin`. */
  readonly adminSession: Session | undefined;
  readonly callbacks: CallbackRegistry;
  readonly encryption: Encryption | undefined;
  readonly encryptedRooms: EncryptedRooms;
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
  withLease<T>(
    userId: string,
    use: (userSession: UserSession, signal: AbortSignal) => T | Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    const { lifecycle, registry } = this.#options;
    return lifecycle.run(async (combined) => {
      const lease = await registry.lease(userId, combined);
      try {
        throwIfAborted(combined, 'the call');
        return await use(lease.client, combined);
      } finally {
        lease[Symbol.dispose]();
      }
    }, signal);
  }

  /**
   * Runs `use` as the user. With their client, if it runs or the user has callbacks of their own: it is started then.
   * Otherwise with their session alone. A callback for the events of several users starts no client.
   */
  runAs<T>(userId: string, use: CallBody<T>, signal?: AbortSignal): Promise<T> {
    const { accounts, callbacks, lifecycle, registry } = this.#options;
    if (registry.has(userId) || callbacks.hasOwn(userId)) {
      const useClient = (userSession: UserSession, combined: AbortSignal): Promise<T> =>
        use({ session: userSession.session, userSession }, combined).catch((error: unknown) => {
          userSession.requestFailed(error);
          throw error;
        });
      return this.withLease(userId, useClient, signal);
    }
    return lifecycle.run(
      async (combined) => call({ session: await accounts.sessionOf(userId, combined) }, use, combined),
      signal,
    );
  }

  /**
   * Runs `use` with the session of the user, and with their client if it runs. Starts no client. Without a `userId` the
   * session is that of the admin.
   * @param isActivity - whether the call restarts the idle time-out of the client
   */
  readAs<T>(userId: string | undefined, use: CallBody<T>, signal?: AbortSignal, isActivity = true): Promise<T> {
    return this.#options.lifecycle.run(
      async (combined) => call(await this.#readerFor(userId, combined, isActivity), use, combined),
      signal,
    );
  }

  /** Runs `use` with the encryption of the user's device. Starts the user's client if needed. */
  withEncryption<T>(
    userId: string,
    use: (encryption: UserEncryption) => Promise<T>,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    const operation = `a call on the encryption of ${userId}`;
    const useIfThere = async ({ encryption }: UserSession): Promise<T> => {
      if (encryption) {
        const result = use(encryption).catch((error: unknown) => {
          throw encryptionFailure(error, operation, { userId });
        });
        return orAborted(result, encryption.ended, operation);
      }
      const message = `${userId} has no encryption: see the options \`encryption\` and \`encryption.users\``;
      throw new MatrixClientManagerError('ENCRYPTION_UNAVAILABLE', message, { userId });
    };
    return this.withLease(userId, useIfThere, signal);
  }

  /**
   * Returns a function that decrypts the events of a page, if the user has encryption; it starts the user's client if there
   * is an encrypted event. The function also learns from the events whether the room is encrypted.
   */
  pageDecryption(...[userId, roomId, signal]: Parameters<PageDecryption>): ReturnType<PageDecryption> {
    const { encryption: settings, encryptedRooms } = this.#options;
    const canDecrypt = userId !== undefined && settings?.isFor(userId);
    return async (events) => {
      encryptedRooms.noteEvents(roomId, events);
      if (!canDecrypt || !events.some(needsDecryption)) return [...events];
      const decrypt = ({ encryption }: UserSession) =>
        Promise.all(events.map(async (event) => (await encryption?.decrypt(roomId, event)) ?? event));
      return this.withLease(userId, decrypt, signal);
    };
  }

  async #readerFor(userId: string | undefined, signal: AbortSignal, isActivity: boolean): Promise<CallerSession> {
    const { accounts, adminSession, registry } = this.#options;
    if (userId === undefined) {
      if (adminSession) return { session: adminSession };
      const message =
        'expected `userId`: without it the call is made by the account of the option `admin`, and there is none';
      throw invalidOptions(message);
    }
    const userSession = registry.get(userId);
    if (!userSession) return { session: await accounts.sessionOf(userId, signal) };
    if (isActivity) registry.touch(userId);
    return { session: userSession.session, userSession };
  }
}

/** Calls `use`, unless the signal fired while the session was looked up. */
function call<T>(caller: CallerSession, use: CallBody<T>, signal: AbortSignal): Promise<T> {
  throwIfAborted(signal, 'the call');
  return use(caller, signal);
}
