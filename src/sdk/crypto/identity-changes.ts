import { CryptoEvent } from 'matrix-js-sdk/lib/crypto-api/index.js';
import type { Context } from '../../core/context.js';
import { RecentMap } from '../../core/recent-map.js';
import type { IdentityChange } from '../../encryption/identity/identity-change.js';
import { hasIdentityChanged, wasmUserIdClass } from './crypto-backend.js';
import type { CryptoBackend } from './crypto-backend.js';
import { masterKeyOf } from './published-keys.js';

export interface IdentityChangesOptions {
  readonly crypto: Pick<CryptoBackend, 'olmMachine' | 'on'>;
  /** The user's own identity, which this device changes as well. */
  readonly identity: {
    /** Resolves when no change by this device is running. */
    idle(): Promise<unknown>;
    /** The public master key that this device has published last. */
    readonly publishedMasterKey: string | undefined;
    /** Whether this device has made the public master key, which the homeserver may have refused. */
    hasCreated(masterKey: string): boolean;
  };
  readonly userId: string;
  readonly onChanged: (change: IdentityChange) => void;
}

/** The least time between two reports of one user, in milliseconds: a homeserver can show other keys in each response. */
const REPORT_INTERVAL_MS = 3_600_000;
/** Users whose last report is kept in memory. */
const MOST_USERS = 1_000;

interface Report {
  readonly masterKey: string;
  readonly at: number;
}

/**
 * Reports users whose cross-signing keys were replaced: those of the user, unless this device has done it, and those of
 * others, in the sense of `decryption.sender.identityChanged`. The crypto library tells of an identity only when it
 * differs from the stored one, so a restart repeats no report.
 */
export class IdentityChanges {
  readonly #context: Pick<Context, 'clock' | 'logger'>;
  readonly #options: IdentityChangesOptions;
  readonly #reports = new RecentMap<Report>(MOST_USERS);
  /** The user's own public master key, as this device saw it last at the homeserver. */
  #ownMasterKey: string | undefined;

  constructor(context: Pick<Context, 'clock' | 'logger'>, options: IdentityChangesOptions) {
    this.#context = context;
    this.#options = options;
  }

  /** Call it before the client makes its first request for keys: the stored keys are those to compare with. */
  async start(): Promise<void> {
    const { crypto, userId } = this.#options;
    this.#ownMasterKey = (await this.#lookUp(userId))?.masterKey;
    crypto.on(CryptoEvent.UserTrustStatusChanged, (changed) => {
      const look = changed === userId ? this.#lookAtOwn() : this.#lookAt(changed);
      look.catch(() => {}); // the library cannot read the identity; the next change of it is looked at again
    });
  }

  async #lookAtOwn(): Promise<void> {
    const { identity, userId } = this.#options;
    await identity.idle();
    const own = await this.#lookUp(userId);
    const known = this.#ownMasterKey;
    if (!own || own.masterKey === known) return;
    const isOwnWork = identity.hasCreated(own.masterKey);
    // Keys that were not published are dropped again, and then the known ones come back.
    if (!isOwnWork || own.masterKey === identity.publishedMasterKey) this.#ownMasterKey = own.masterKey;
    if (!isOwnWork && known !== undefined) this.#report(userId, own);
  }

  async #lookAt(userId: string): Promise<void> {
    const identity = await this.#lookUp(userId);
    if (identity?.hasChanged) this.#report(userId, identity);
  }

  #report(changedUserId: string, { masterKey, wasVerified }: { masterKey: string; wasVerified: boolean }): void {
    const { userId, onChanged } = this.#options;
    const { clock, logger } = this.#context;
    const now = clock.now();
    const last = this.#reports.get(changedUserId);
    if (last && (last.masterKey === masterKey || now - last.at < REPORT_INTERVAL_MS)) return;
    this.#reports.set(changedUserId, { masterKey, at: now });
    logger.warn({ userId, changedUserId, wasVerified }, 'the cross-signing keys of a user were replaced');
    onChanged({ userId, changedUserId, wasVerified });
  }

  async #lookUp(userId: string) {
    const { olmMachine } = this.#options.crypto;
    const identity = await olmMachine.getIdentity(new (wasmUserIdClass({ olmMachine }))(userId));
    if (!identity) return undefined;
    try {
      const masterKey = masterKeyOf(JSON.parse(identity.masterKey) as { keys: unknown });
      return { masterKey, hasChanged: hasIdentityChanged(identity), wasVerified: identity.wasPreviouslyVerified() };
    } finally {
      identity.free(); // otherwise it keeps the client in memory
    }
  }
}
