import { AsyncLocalStorage } from 'node:async_hooks';
import * as v from 'valibot';
import { delay, orAborted, orTimeout } from '../core/abort.js';
import type { Context } from '../core/context.js';
import type { Credentials } from '../core/credentials.js';
import { invalidOptions, isManagerError, MatrixClientManagerError } from '../core/errors.js';
import { KeyedQueue } from '../core/keyed-queue.js';
import { checkedAs, withMethods } from '../core/validation.js';
import { checkedCredentials } from './checked-credentials.js';

/**
 * The application's own store of credentials, such as a table with a row per user. Each call times out after 30
 * seconds. The functions must not wait for calls of the manager for the same user.
 */
export interface CredentialsStore {
  /** The credentials that were set last; undefined or null if there are none. */
  get(userId: string): Promise<Credentials | undefined | null> | Credentials | undefined | null;
  /**
   * Replaces the user's credentials. The manager waits for this call before it uses the new token, because the first
   * use may invalidate the previous one. A failed call is repeated a few times, then in the background until it
   * succeeds.
   */
  set(userId: string, credentials: Credentials): unknown;
  /** Deletes the credentials; called when the manager forgets the user. Must succeed if there are none. */
  delete(userId: string): unknown;
}

/** The application's own store of credentials. A function is read-only: it does not receive renewed credentials. */
export type CredentialsSource =
  | CredentialsStore
  | ((userId: string) => Promise<Credentials | undefined | null> | Credentials | undefined | null);

const storeSchema = withMethods<CredentialsStore>('get', 'set', 'delete');

export const credentialsSchema = checkedAs<CredentialsSource>(
  'a function, or an object with get(), set() and delete()',
  (source) => typeof source === 'function' || v.is(storeSchema, source),
);

/** Time-out of one call of the application's functions, in milliseconds. */
const CALL_TIMEOUT_MS = 30_000;
/** How many times a failing `set` or `delete` is called before the waiting operation continues or fails. */
const ATTEMPTS = 3;
const RETRY_DELAY_MS = 1_000;
const MAX_RETRY_DELAY_MS = 300_000;

/**
 * Calls the application's store of credentials. Handles functions that throw, reject, hang, or return invalid values.
 */
export class ApplicationCredentials {
  readonly #context: Pick<Context, 'clock' | 'logger'>;
  readonly #source: CredentialsSource;
  readonly #signal: AbortSignal;
  /** Credentials that the application has not stored yet, by user. */
  readonly #unsaved = new Map<string, Credentials>();
  readonly #saveQueue = new KeyedQueue();
  /** Detects calls of the manager from within the application's `get`, which would wait for themselves. */
  readonly #runningGet = new AsyncLocalStorage<{ readonly userId: string; done: boolean }>();
  #hasWarned = false;

  /** @param signal - aborted when the manager shuts down */
  constructor(context: Pick<Context, 'clock' | 'logger'>, source: CredentialsSource, signal: AbortSignal) {
    this.#context = context;
    this.#source = source;
    this.#signal = signal;
  }

  /**
   * The application's credentials of the user. A failed call rejects with `NETWORK` or `TIMEOUT`, which are retryable,
   * so that an outage of the application's database logs no user out. Invalid credentials reject with
   * `INVALID_OPTIONS`.
   */
  async get(userId: string): Promise<Credentials | undefined> {
    this.assertNotInsideGet(userId);
    const source = this.#source;
    const asking = { userId, done: false };
    const ask = (): unknown => (typeof source === 'function' ? source(userId) : source.get(userId));
    const found = await this.#call(userId, 'credentials', () => this.#runningGet.run(asking, ask)).finally(
      () => (asking.done = true),
    );
    if (found === undefined || found === null) return undefined; // many database clients return null for no row
    const asked = { userId, deviceId: undefined, source: '`credentials`', code: 'INVALID_OPTIONS' } as const;
    const credentials = checkedCredentials(found, asked);
    this.#warnIfNotStored(credentials);
    return credentials;
  }

  /**
   * Throws `INVALID_OPTIONS` if called from within the application's `get` for this user: the call would wait for
   * itself.
   */
  assertNotInsideGet(userId: string): void {
    const asking = this.#runningGet.getStore();
    if (!asking || asking.done || asking.userId !== userId) return;
    const message =
      `\`credentials\` called the manager for ${userId} while returning the credentials of ${userId}: ` +
      'return undefined if there are none, and call provisionUser() outside of `credentials`';
    throw invalidOptions(message, { userId });
  }

  /**
   * Has the application store new credentials. After a few failed attempts this resolves nevertheless, because
   * `storage` has the credentials too, and attempts continue in the background.
   */
  async set(credentials: Credentials): Promise<void> {
    const source = this.#source;
    if (typeof source === 'function') return this.#warnIfNotStored(credentials);
    const { userId } = credentials;
    this.#unsaved.set(userId, credentials);
    const save = async (): Promise<void> => {
      if (this.#unsaved.get(userId) !== credentials) return; // there are newer credentials, or the user was forgotten
      await this.#call(userId, 'credentials.set()', () => source.set(userId, { ...credentials }));
      if (this.#unsaved.get(userId) === credentials) this.#unsaved.delete(userId);
    };
    try {
      await this.#repeat(userId, save, ATTEMPTS);
    } catch {
      if (this.#signal.aborted) return;
      this.#context.logger.error(
        { userId },
        'credentials.set() failed; it is retried in the background, and `storage` has the credentials',
      );
      void this.#repeat(userId, save, Infinity, ATTEMPTS).catch(() => {}); // only a shutdown ends it
    }
  }

  /**
   * Has the application delete the user's credentials; does nothing for a function. Rejects after a few failed
   * attempts.
   */
  async delete(userId: string): Promise<void> {
    const source = this.#source;
    this.#unsaved.delete(userId);
    if (typeof source === 'function') return;
    const remove = (): unknown => this.#call(userId, 'credentials.delete()', () => source.delete(userId));
    await this.#repeat(userId, remove, ATTEMPTS);
  }

  /**
   * Runs `change` until it succeeds, up to `attempts` times. The changes of a user run one after the other, so that
   * older credentials cannot overwrite newer ones.
   */
  async #repeat(userId: string, change: () => unknown, attempts: number, failed = 0): Promise<void> {
    const { clock, logger } = this.#context;
    for (let failures = failed; ;) {
      try {
        if (failures > 0) {
          const delayMs = Math.min(MAX_RETRY_DELAY_MS, RETRY_DELAY_MS * 2 ** (failures - 1));
          await delay(clock, delayMs, this.#signal, 'storing credentials');
        }
        await this.#saveQueue.run(userId, async () => change());
        return;
      } catch (error) {
        if (this.#signal.aborted) throw error;
        failures++;
        logger.warn({ userId, err: error, failures }, 'changing the credentials of the application failed');
        if (failures >= attempts) throw error;
      }
    }
  }

  async #call(userId: string, name: string, call: () => unknown): Promise<unknown> {
    const failed = (code: 'NETWORK' | 'TIMEOUT', why: string, cause?: unknown): MatrixClientManagerError =>
      new MatrixClientManagerError(code, `\`${name}\` ${why} for ${userId}`, { userId, cause });
    const called = (async () => call())().catch((error: unknown) => {
      throw isManagerError(error, 'INVALID_OPTIONS') ? error : failed('NETWORK', 'failed', error);
    });
    const bounded = orTimeout(called, this.#context.clock, CALL_TIMEOUT_MS, () =>
      failed('TIMEOUT', `took longer than ${CALL_TIMEOUT_MS} ms`),
    );
    return orAborted(bounded, this.#signal, `${name} for ${userId}`);
  }

  /** Warns once: a refresh token is valid for one use, and a function does not receive the next one. */
  #warnIfNotStored({ userId, refreshToken }: Credentials): void {
    const source = this.#source;
    if (this.#hasWarned || refreshToken === undefined || typeof source !== 'function') return;
    this.#hasWarned = true;
    this.#context.logger.warn(
      { userId },
      '`credentials` is a function, and a session has a refresh token: after a renewal the refresh token that the ' +
        'function returns is no longer valid. Pass { get, set, delete }, or store the credentials of each credentialsChanged event',
    );
  }
}
