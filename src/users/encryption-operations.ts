import { orAborted } from '../core/abort.js';
import type { ManagerLifecycle } from '../core/lifecycle.js';
import { invalidOptions, MatrixClientManagerError } from '../core/errors.js';
import { assertUserId } from '../core/ids.js';
import { needsDecryption } from '../core/raw-event.js';
import type { RawEvent } from '../core/raw-event.js';
import { encryptionFailure } from '../encryption/encryption-failure.js';
import type { EncryptionStatus, UserVerification } from '../encryption/encryption-status.js';
import type { ResetIdentityOptions } from '../encryption/identity/reset-identity-options.js';
import type { UserEncryption } from '../sdk/crypto/user-encryption.js';
import type { Encryption } from './encryption.js';
import type { UserSession } from './user-session.js';
import type { UserCalls } from './user-calls.js';

export interface EncryptionOperationsOptions {
  readonly calls: UserCalls;
  readonly encryption: Encryption | undefined;
  readonly lifecycle: ManagerLifecycle;
}

/** The operations on the encryption of a user's device. They start the user's client if needed. */
export class EncryptionOperations {
  readonly #options: EncryptionOperationsOptions;

  constructor(options: EncryptionOperationsOptions) {
    this.#options = options;
  }

  status(userId: string, signal: AbortSignal | undefined): Promise<EncryptionStatus> {
    return this.#withEncryption(userId, ({ identity }) => identity.status(), signal);
  }

  verificationOf(userId: string, otherUserId: string, signal: AbortSignal | undefined): Promise<UserVerification> {
    return this.#withEncryption(userId, ({ identity }) => identity.verificationOf(otherUserId), signal);
  }

  verify(userId: string, otherUserId: string, signal: AbortSignal | undefined): Promise<UserVerification> {
    return this.#withEncryption(userId, ({ identity, ended }) => identity.verify(otherUserId, ended), signal);
  }

  resetIdentity(userId: string, { authenticate, signal }: ResetIdentityOptions): Promise<EncryptionStatus> {
    const reset = async ({ identity, ended }: UserEncryption): Promise<EncryptionStatus> => {
      await identity.reset(ended, authenticate);
      return identity.status();
    };
    return this.#withEncryption(userId, reset, signal);
  }

  async rotateSecret(secret: string | Uint8Array): Promise<void> {
    const { encryption, lifecycle } = this.#options;
    if (encryption) return lifecycle.untilCallsAborted(encryption.rotateSecret(secret));
    throw invalidOptions('rotateEncryptionSecret() needs the option `encryption`');
  }

  /**
   * Returns a function that decrypts the events of a page; undefined if the user has no encryption. The function starts
   * the user's client if there is an encrypted event.
   */
  pageDecryption(
    userId: string | undefined,
    roomId: string,
    signal: AbortSignal,
  ): ((events: readonly RawEvent[]) => Promise<RawEvent[]>) | undefined {
    const { calls, encryption: encryptionSettings } = this.#options;
    if (userId === undefined || !encryptionSettings?.isFor(userId)) return undefined;
    return async (events) => {
      if (!events.some(needsDecryption)) return [...events];
      return calls.withLease(
        userId,
        ({ encryption }) =>
          Promise.all(events.map(async (event) => (await encryption?.decrypt(roomId, event)) ?? event)),
        signal,
      );
    };
  }

  async #withEncryption<T>(
    userId: string,
    use: (encryption: UserEncryption) => Promise<T>,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    this.#options.lifecycle.assertOpen();
    assertUserId(userId);
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
    return this.#options.calls.withLease(userId, useIfThere, signal);
  }
}
