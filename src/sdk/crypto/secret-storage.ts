import { SecretStorage } from 'matrix-js-sdk';
import type { MatrixClient } from 'matrix-js-sdk';
import { decodeRecoveryKey } from 'matrix-js-sdk/lib/crypto-api/recovery-key.js';
import { Method } from 'matrix-js-sdk/lib/http-api/method.js';
import { MatrixClientManagerError } from '../../core/errors.js';

type Content = Record<string, unknown>;
type KeyDescriptions = Record<string, SecretStorage.SecretStorageKeyDescription>;

/** The secrets that a new device needs. */
export const crossSigningSecrets = [
  'm.cross_signing.master',
  'm.cross_signing.self_signing',
  'm.cross_signing.user_signing',
] as const;
export const backupSecret = 'm.megolm_backup.v1';

export type SecretName = (typeof crossSigningSecrets)[number] | typeof backupSecret;

/**
 * The user's secrets at the homeserver, and the key that opens them while it is needed. Takes the place of what the
 * client has: that believes the account data of its syncs, and a client that resumes has seen none of it, so it would
 * find no secret storage and make another one.
 * @see https://spec.matrix.org/v1.16/client-server-api/#secret-storage
 */
export class SecretKeeper {
  readonly #matrixClient: MatrixClient;
  readonly #userId: string;
  readonly #ask: () => Promise<string | undefined | null>;
  readonly #accountData = new Map<string, Content | null>();
  #key: Uint8Array<ArrayBuffer> | undefined;

  /** @param ask - for the recovery key, of the application */
  constructor(matrixClient: MatrixClient, ask: () => Promise<string | undefined | null>) {
    this.#matrixClient = matrixClient;
    this.#userId = matrixClient.getSafeUserId();
    this.#ask = ask;
    const accountData = {
      getAccountDataFromServer: (type: string) => this.#read(type),
      setAccountData: (type: string, content: Content) => this.#write(type, content),
    } as unknown as SecretStorage.AccountDataClient;
    const getSecretStorageKey: SecretStorage.SecretStorageCallbacks['getSecretStorageKey'] = ({ keys }) =>
      this.#unlock(keys);
    // Its parts, and not itself: the SDK's crypto holds it already.
    Object.assign(
      matrixClient.secretStorage,
      new SecretStorage.ServerSideSecretStorageImpl(accountData, { getSecretStorageKey }),
    );
  }

  /** Looks at the homeserver anew. */
  refresh(): void {
    this.#accountData.clear();
  }

  /** Holds `key` until `forget()`, instead of the one that the application would be asked for. */
  hold(key: Uint8Array<ArrayBuffer>): void {
    this.#key = key;
  }

  forget(): void {
    this.#key = undefined;
    this.#accountData.clear();
  }

  /** Whether all of `names` are there under the default key. */
  async has(...names: readonly SecretName[]): Promise<boolean> {
    const { secretStorage } = this.#matrixClient;
    const keyId = await secretStorage.getDefaultKeyId();
    if (keyId === null) return false;
    for (const name of names) {
      if (!Object.hasOwn((await secretStorage.isStored(name)) ?? {}, keyId)) return false;
    }
    return true;
  }

  /** Whether the application has the default key. Rejects with `ENCRYPTION_RECOVERY_KEY` where it has another. */
  async isOpen(): Promise<boolean> {
    const description = await this.#matrixClient.secretStorage.getKey();
    if (!description) return false;
    const [keyId, info] = description;
    if (!(await this.#recoveryKey())) return false;
    await this.#unlock({ [keyId]: info });
    return true;
  }

  async #unlock(keys: KeyDescriptions): Promise<[string, Uint8Array<ArrayBuffer>]> {
    const key = await this.#recoveryKey();
    if (!key) throw new RecoveryKeyNeeded();
    for (const [keyId, info] of Object.entries(keys)) {
      if (await this.#matrixClient.secretStorage.checkKey(key, info)) return [keyId, key];
    }
    throw this.#wrongKey('it does not open what is stored at the homeserver');
  }

  async #recoveryKey(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    if (this.#key) return this.#key;
    const text = await this.#ask();
    if (text === undefined || text === null) return undefined; // null is what many databases say
    try {
      return (this.#key = decodeRecoveryKey(text));
    } catch {
      throw this.#wrongKey('it is no recovery key, or has a slip of the pen');
    }
  }

  #wrongKey(why: string): MatrixClientManagerError {
    const userId = this.#userId;
    const message = `the recovery key of ${userId} that the application gave is not the right one: ${why}. Nothing was changed`;
    return new MatrixClientManagerError('ENCRYPTION_RECOVERY_KEY', message, { userId });
  }

  async #read(type: string): Promise<Content | null> {
    const known = this.#accountData.get(type);
    if (known !== undefined) return known;
    const content = await this.#get(type);
    this.#accountData.set(type, content);
    return content;
  }

  async #get(type: string): Promise<Content | null> {
    try {
      const content = await this.#matrixClient.http.authedRequest<Content>(Method.Get, this.#path(type));
      return Object.keys(content).length === 0 ? null : content; // how account data is deleted
    } catch (error) {
      if ((error as { errcode?: unknown }).errcode === 'M_NOT_FOUND') return null;
      throw error;
    }
  }

  async #write(type: string, content: Content): Promise<Content> {
    await this.#matrixClient.http.authedRequest(Method.Put, this.#path(type), undefined, content);
    this.#accountData.set(type, content);
    return {};
  }

  #path(type: string): string {
    return `/user/${encodeURIComponent(this.#userId)}/account_data/${encodeURIComponent(type)}`;
  }
}

/** The application has no recovery key, and something cannot be had without. */
export class RecoveryKeyNeeded extends Error {}
