import { createHash } from 'node:crypto';
import { SecretStorage } from 'matrix-js-sdk';
import type { MatrixClient } from 'matrix-js-sdk';
import { decodeRecoveryKey } from 'matrix-js-sdk/lib/crypto-api/recovery-key.js';
import { Method } from 'matrix-js-sdk/lib/http-api/method.js';
import decryptItem from 'matrix-js-sdk/lib/utils/decryptAESSecretStorageItem.js';
import encryptItem from 'matrix-js-sdk/lib/utils/encryptAESSecretStorageItem.js';
import { MatrixClientManagerError } from '../../core/errors.js';

type Content = Record<string, unknown>;
type Key = Uint8Array<ArrayBuffer>;
type KeyDescriptions = Record<string, SecretStorage.SecretStorageKeyDescription>;

/** The secrets that a new device needs. */
export const crossSigningSecrets = [
  'm.cross_signing.master',
  'm.cross_signing.self_signing',
  'm.cross_signing.user_signing',
] as const;
export const backupSecret = 'm.megolm_backup.v1';

export const secretNames = [...crossSigningSecrets, backupSecret] as const;

/** An earlier key, encrypted with the later one of whose hash the type ends. */
const PREVIOUS_KEY = 'matrix-client-manager.previous_key.';
/** How many keys are tried, each earlier than the one before. */
const MOST_KEYS = 20;

const MASTER_KEY = 'm.cross_signing.master';

/** The type of the account data that names the key of secret storage. */
export const DEFAULT_KEY = 'm.secret_storage.default_key';

export type SecretName = (typeof secretNames)[number];

export interface SecretStorageOptions {
  /** Asks the application for the recovery key. */
  readonly ask: () => Promise<string | undefined | null>;
  /** The user's public master key, as the crypto library knows it. */
  readonly masterKey: () => Promise<string | undefined>;
}

/**
 * The user's secret storage, and its key while a step needs it. Replaces the SDK's secret storage, which reads account
 * data from syncs. A resumed client has not received account data in a sync, so it would create another secret storage.
 * @see https://spec.matrix.org/v1.16/client-server-api/#secret-storage
 */
export class SecretStorageAccess {
  readonly #matrixClient: MatrixClient;
  readonly #userId: string;
  readonly #askForRecoveryKey: SecretStorageOptions['ask'];
  readonly #masterKey: SecretStorageOptions['masterKey'];
  readonly #accountData = new Map<string, Content | null>();
  #key: Key | undefined;
  #defaultKeyId: unknown;

  constructor(matrixClient: MatrixClient, { ask, masterKey }: SecretStorageOptions) {
    this.#matrixClient = matrixClient;
    this.#userId = matrixClient.getSafeUserId();
    this.#askForRecoveryKey = ask;
    this.#masterKey = masterKey;
    const accountData = {
      getAccountDataFromServer: (type: string) => this.#readAccountData(type),
      setAccountData: (type: string, content: Content) => this.#writeAccountData(type, content),
    } as unknown as SecretStorage.AccountDataClient;
    const getSecretStorageKey: SecretStorage.SecretStorageCallbacks['getSecretStorageKey'] = ({ keys }) =>
      this.#unlock(keys);
    // Assigned into the existing object, because the SDK's crypto already holds a reference to it.
    Object.assign(
      matrixClient.secretStorage,
      new SecretStorage.ServerSideSecretStorageImpl(accountData, { getSecretStorageKey }),
    );
  }

  /** The default key's id when it was last read or written, as the homeserver has it. */
  get defaultKeyId(): unknown {
    return this.#defaultKeyId;
  }

  /** Drops the cached account data, so that the next call reads it from the homeserver. */
  refresh(): void {
    this.#accountData.clear();
  }

  /** Uses `key` until `forget()`, without asking the application. */
  useKey(key: Key): void {
    this.#key = key;
  }

  forget(): void {
    this.#key = undefined;
    this.#accountData.clear();
  }

  /** Whether all secrets in `names` are stored, encrypted with the default key, and not replaced by published keys. */
  async has(...names: readonly SecretName[]): Promise<boolean> {
    const { secretStorage } = this.#matrixClient;
    const keyId = await secretStorage.getDefaultKeyId();
    if (keyId === null) return false;
    for (const name of names) {
      if (!Object.hasOwn((await secretStorage.isStored(name)) ?? {}, keyId)) return false;
      if (name === MASTER_KEY && (await this.#isReplaced())) return false;
    }
    return true;
  }

  /**
   * Notes with the stored cross-signing keys that they are replaced once this public master key is published. So keys that
   * could not be stored after that are stored later, and until they are published the stored ones stay in use.
   */
  async markReplaced(masterKey: string | undefined): Promise<void> {
    const stored = await this.#readAccountData(MASTER_KEY);
    if (stored) await this.#writeAccountData(MASTER_KEY, { ...stored, 'matrix-client-manager.replaced_by': masterKey });
  }

  async #isReplaced(): Promise<boolean> {
    const masterKey = (await this.#readAccountData(MASTER_KEY))?.['matrix-client-manager.replaced_by'];
    return masterKey !== undefined && masterKey === (await this.#masterKey());
  }

  /** Whether the application has the default key. Rejects with `ENCRYPTION_RECOVERY_KEY` if it gives a wrong one. */
  async canUnlock(): Promise<boolean> {
    const description = await this.#matrixClient.secretStorage.getKey();
    if (!description) return false;
    const [keyId, info] = description;
    if (!(await this.#recoveryKey())) return false;
    await this.#unlock({ [keyId]: info });
    return true;
  }

  /**
   * Stores the key that the application has, encrypted with `newKey`, before the application replaces it. So `newKey` still
   * opens the present secret storage if no other one takes its place, because of a crash or a refusal of the homeserver.
   */
  async keepPreviousKey(newKey: Key): Promise<void> {
    if ((await this.#matrixClient.secretStorage.getDefaultKeyId()) === null) return;
    const key = await this.#recoveryKey().catch(() => undefined); // without a usable key there is none to keep
    if (!key) return;
    const type = previousKeyType(newKey);
    await this.#writeAccountData(type, { ...(await encryptItem(Buffer.from(key).toString('base64'), newKey, type)) });
  }

  async #previousKey(key: Key): Promise<Key | undefined> {
    const type = previousKeyType(key);
    const { iv, ciphertext, mac } = (await this.#readAccountData(type)) ?? {};
    if (typeof iv !== 'string' || typeof ciphertext !== 'string' || typeof mac !== 'string') return undefined;
    try {
      return new Uint8Array(Buffer.from(await decryptItem({ iv, ciphertext, mac }, key, type), 'base64'));
    } catch {
      return undefined; // the homeserver has altered it
    }
  }

  async #unlock(keys: KeyDescriptions): Promise<[string, Key]> {
    const key = await this.#recoveryKey();
    if (!key) throw new RecoveryKeyNeeded();
    let candidate: Key | undefined = key;
    for (let n = 0; candidate && n < MOST_KEYS; n++) {
      for (const [keyId, info] of Object.entries(keys)) {
        if (await this.#matrixClient.secretStorage.checkKey(candidate, info)) return [keyId, candidate];
      }
      candidate = await this.#previousKey(candidate);
    }
    throw this.#wrongKeyError('it does not decrypt the secret storage at the homeserver');
  }

  async #recoveryKey(): Promise<Key | undefined> {
    if (this.#key) return this.#key;
    const text = await this.#askForRecoveryKey();
    if (text === undefined || text === null) return undefined; // databases often return null for a missing value
    try {
      return (this.#key = decodeRecoveryKey(text));
    } catch {
      throw this.#wrongKeyError('it is not a valid recovery key; check it for typing errors');
    }
  }

  #wrongKeyError(why: string): MatrixClientManagerError {
    const userId = this.#userId;
    const message = `the recovery key of ${userId} that the application gave is wrong: ${why}. The secret storage was not changed`;
    return new MatrixClientManagerError('ENCRYPTION_RECOVERY_KEY', message, { userId });
  }

  async #readAccountData(type: string): Promise<Content | null> {
    const known = this.#accountData.get(type);
    if (known !== undefined) return known;
    const content = await this.#fetchAccountData(type);
    this.#remember(type, content);
    return content;
  }

  async #fetchAccountData(type: string): Promise<Content | null> {
    try {
      const content = await this.#matrixClient.http.authedRequest<Content>(Method.Get, this.#path(type));
      return Object.keys(content).length === 0 ? null : content; // deleted account data has empty content
    } catch (error) {
      if ((error as { errcode?: unknown }).errcode === 'M_NOT_FOUND') return null;
      throw error;
    }
  }

  async #writeAccountData(type: string, content: Content): Promise<Content> {
    await this.#matrixClient.http.authedRequest(Method.Put, this.#path(type), undefined, content);
    this.#remember(type, content);
    return {};
  }

  #remember(type: string, content: Content | null): void {
    this.#accountData.set(type, content);
    if (type === DEFAULT_KEY) this.#defaultKeyId = content?.['key'];
  }

  #path(type: string): string {
    return `/user/${encodeURIComponent(this.#userId)}/account_data/${encodeURIComponent(type)}`;
  }
}

function previousKeyType(key: Key): string {
  return PREVIOUS_KEY + createHash('sha256').update(PREVIOUS_KEY).update(key).digest('hex').slice(0, 32);
}

/** A step needs the recovery key, and the application has none. */
export class RecoveryKeyNeeded extends Error {}
