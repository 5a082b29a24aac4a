import { AsyncLocalStorage } from 'node:async_hooks';
import { delay, orAborted, orTimeout } from '../core/abort.js';
import type { Clock } from '../core/clock.js';
import type { Credentials } from '../core/credentials.js';
import { isManagerError, MatrixClientManagerError } from '../core/errors.js';
import { describe } from '../core/ids.js';
import { KeyedQueue } from '../core/keyed-queue.js';
import type { Logger } from '../core/logger.js';
import { checkedCredentials } from './checked-credentials.js';

/**
 * The application's own store of credentials, as a table with a row per user. Each call has 30 seconds. Its functions
 * must not wait for calls of the manager for the same user.
 */
export interface CredentialsStore {
  /** The credentials that were set last; undefined or null where there are none. */
  get(userId: string): Promise<Credentials | undefined | null> | Credentials | undefined | null;
  /**
   * Keeps the credentials in place of those before. Awaited before a new token is used, since using it may end the one
   * before. A call that fails is repeated: a few times before the token is used, and then until it succeeds.
   */
  set(userId: string, credentials: Credentials): unknown;
  /** The manager forgets the user; resolves also where there is nothing to delete. */
  delete(userId: string): unknown;
}

/** The application's own store of credentials; a function alone cannot keep what the manager renews. */
export type CredentialsSource =
  | CredentialsStore
  | ((userId: string) => Promise<Credentials | undefined | null> | Credentials | undefined | null);

/** Throws `INVALID_OPTIONS` for what is neither of them. */
export function assertCredentialsSource(source: unknown): asserts source is CredentialsSource {
  const { get, set, delete: remove } = (source ?? {}) as Partial<Record<keyof CredentialsStore, unknown>>;
  if (typeof source === 'function' || [get, set, remove].every((one) => typeof one === 'function')) return;
  const message = `expected \`credentials\` to be a function, or an object with get(), set() and delete(), got ${describe(source)}`;
  throw new MatrixClientManagerError('INVALID_OPTIONS', message);
}

export interface ApplicationCredentialsOptions {
  readonly source: CredentialsSource;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Fires when the manager shuts down. */
  readonly signal: AbortSignal;
}

/** How long a function of the application may take, in milliseconds. */
const CALL_TIMEOUT_MS = 30_000;
/** How often a failing `set` or `delete` is called before what waits for it goes on. */
const ATTEMPTS = 3;
const RETRY_DELAY_MS = 1_000;
const MAX_RETRY_DELAY_MS = 300_000;

/** Calls the application's store of credentials, whatever its functions do: throw, reject, hang, or answer with junk. */
export class ApplicationCredentials {
  readonly #options: ApplicationCredentialsOptions;
  /** What the application could not keep yet, by user. */
  readonly #unsaved = new Map<string, Credentials>();
  readonly #saving = new KeyedQueue();
  /** The user whose credentials are being asked for. */
  readonly #asking = new AsyncLocalStorage<{ readonly userId: string; done: boolean }>();
  #hasWarned = false;

  constructor(options: ApplicationCredentialsOptions) {
    this.#options = options;
  }

  /**
   * The application's credentials of the user. Rejects with `NETWORK` or `TIMEOUT` where it fails, since its database
   * being down is no reason to log anybody out, and with `INVALID_OPTIONS` for an answer of no use.
   */
  async get(userId: string): Promise<Credentials | undefined> {
    this.assertNotAsking(userId);
    const { source } = this.#options;
    const asking = { userId, done: false };
    const ask = (): unknown => (typeof source === 'function' ? source(userId) : source.get(userId));
    const found = await this.#call(userId, 'credentials', () => this.#asking.run(asking, ask)).finally(
      () => (asking.done = true),
    );
    if (found === undefined || found === null) return undefined; // null is what many databases say
    const asked = { userId, deviceId: undefined, source: '`credentials`', code: 'INVALID_OPTIONS' } as const;
    const credentials = checkedCredentials(found, asked);
    this.#warnOfLoss(credentials);
    return credentials;
  }

  /** Throws `INVALID_OPTIONS` inside of the application's answer to {@link get}: it would wait for itself. */
  assertNotAsking(userId: string): void {
    const asking = this.#asking.getStore();
    if (!asking || asking.done || asking.userId !== userId) return;
    const message =
      `\`credentials\` calls the manager for ${userId}, whose credentials are just being asked for: ` +
      'answer undefined where there are none, and call provisionUser() outside';
    throw new MatrixClientManagerError('INVALID_OPTIONS', message, { userId });
  }

  /**
   * Gives the application new credentials to keep. Where it fails this resolves after a few attempts all the same:
   * they are in `storage` as well, and it is tried on in the background.
   */
  async set(credentials: Credentials): Promise<void> {
    const { source, logger, signal } = this.#options;
    if (typeof source === 'function') return this.#warnOfLoss(credentials);
    const { userId } = credentials;
    this.#unsaved.set(userId, credentials);
    if (await this.#save(source, credentials, ATTEMPTS)) return;
    if (!signal.aborted) logger.error({ userId }, 'credentials.set() failed; it is tried on, and `storage` has them');
    void this.#save(source, credentials, Infinity, ATTEMPTS);
  }

  /** Has the application forget the user's credentials; a function alone is not told. Rejects where it fails. */
  async delete(userId: string): Promise<void> {
    const { source } = this.#options;
    this.#unsaved.delete(userId);
    if (typeof source === 'function') return;
    for (let failures = 1; ; failures++) {
      try {
        await this.#saving.run(userId, () => this.#call(userId, 'credentials.delete()', () => source.delete(userId)));
        return;
      } catch (error) {
        if (failures >= ATTEMPTS || isManagerError(error, 'ABORTED')) throw error;
        await this.#pause(failures);
      }
    }
  }

  /** Resolves to whether they are kept, or there is nothing to keep any more. */
  async #save(source: CredentialsStore, credentials: Credentials, attempts: number, failed = 0): Promise<boolean> {
    const { userId } = credentials;
    const { logger, signal } = this.#options;
    for (let failures = failed; ;) {
      if (
        failures > 0 &&
        !(await this.#pause(failures)
          .then(() => true)
          .catch(() => false))
      )
        return false;
      try {
        // In turn, so that an attempt with older ones does not come after them.
        await this.#saving.run(userId, async () => {
          if (this.#unsaved.get(userId) !== credentials) return; // there are newer ones, or the user is forgotten
          await this.#call(userId, 'credentials.set()', () => source.set(userId, { ...credentials }));
          if (this.#unsaved.get(userId) === credentials) this.#unsaved.delete(userId);
        });
        return true;
      } catch (error) {
        if (signal.aborted) return false;
        failures++;
        logger.warn({ userId, err: error, failures }, 'the application could not keep new credentials');
        if (failures >= attempts) return false;
      }
    }
  }

  async #call(userId: string, name: string, call: () => unknown): Promise<unknown> {
    const { clock, signal } = this.#options;
    const failed = (code: 'NETWORK' | 'TIMEOUT', why: string, cause?: unknown): MatrixClientManagerError =>
      new MatrixClientManagerError(code, `\`${name}\` ${why} for ${userId}`, { userId, cause });
    const called = (async () => call())().catch((error: unknown) => {
      throw isManagerError(error, 'INVALID_OPTIONS') ? error : failed('NETWORK', 'failed', error);
    });
    const bounded = orTimeout(called, clock, CALL_TIMEOUT_MS, () =>
      failed('TIMEOUT', `took longer than ${CALL_TIMEOUT_MS} ms`),
    );
    return orAborted(bounded, signal, `${name} for ${userId}`);
  }

  #pause(failures: number): Promise<void> {
    const { clock, signal } = this.#options;
    const delayMs = Math.min(MAX_RETRY_DELAY_MS, RETRY_DELAY_MS * 2 ** (failures - 1));
    return delay(clock, delayMs, signal, 'keeping credentials');
  }

  /** Once: a refresh token is dead when it has been used, and a function alone is not told of the next one. */
  #warnOfLoss({ userId, refreshToken }: Credentials): void {
    const { source, logger } = this.#options;
    if (this.#hasWarned || refreshToken === undefined || typeof source !== 'function') return;
    this.#hasWarned = true;
    logger.warn(
      { userId },
      '`credentials` is a function, and a session has a refresh token: after its renewal the one that the function ' +
        'gives is spent. Pass { get, set, delete }, or keep what the event credentialsChanged brings',
    );
  }
}
