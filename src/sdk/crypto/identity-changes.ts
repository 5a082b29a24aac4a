import { CryptoEvent } from 'matrix-js-sdk/lib/crypto-api/index.js';
import type { TimerHandle } from '../../core/clock.js';
import type { Context } from '../../core/context.js';
import { ownProperty } from '../../core/own-property.js';
import { isObject } from '../../core/raw-event.js';
import type { IdentityChange } from '../../encryption/identity/identity-change.js';
import { ReportedIdentities } from '../../encryption/identity/reported-identities.js';
import type { DeviceStore } from '../../encryption/store/device-store.js';
import { KEYS_QUERY } from './crypto-backend.js';
import type { CryptoBackend } from './crypto-backend.js';
import type { MachineGuard } from './machine-guard.js';
import { userIdentity } from './user-identity.js';

export interface IdentityChangesOptions {
  readonly crypto: Pick<CryptoBackend, 'olmMachine' | 'on'>;
  /** Limits the time of a call that a call of the crypto library waits for. */
  readonly run: MachineGuard['run'];
  /** The user's own identity, which this device changes as well. */
  readonly identity: {
    /** Resolves when no change by this device is running. */
    idle(): Promise<unknown>;
    /** The public master key that this device has published last. */
    readonly publishedMasterKey: string | undefined;
  };
  readonly store: Pick<DeviceStore, 'readSideRecord' | 'writeSideRecord' | 'wasNew'>;
  readonly userId: string;
  /** Aborted before the client is stopped. */
  readonly ended: AbortSignal;
  readonly onChanged: (change: IdentityChange) => void;
}

/** The least time between two reports of one user, in milliseconds: a homeserver can show other keys in each response. */
const REPORT_INTERVAL_MS = 3_600_000;

/**
 * Reports users whose cross-signing keys were replaced: those of the user, unless this device has done it, and those of
 * others, in the sense of `decryption.sender.identityChanged`. The crypto library tells of an identity once, when its
 * stored copy changes, also if only a signature does. So what was reported is stored, and compared at the next start and
 * when the time between two reports is over. A first change of a user is not among that. So a mark is stored before the
 * library stores an answer with keys, and removed when the users in the answer were looked at. A start that finds it looks
 * at all users.
 */
export class IdentityChanges {
  readonly #context: Pick<Context, 'clock' | 'logger'>;
  readonly #options: IdentityChangesOptions;
  readonly #reported: ReportedIdentities;
  /** When the users are looked at again whose change came too soon after a report, in milliseconds since 1970. */
  readonly #postponed = new Map<string, number>();
  #timer: TimerHandle;
  /** Users of whom a first change may be stored, and not reported yet. */
  readonly #unlooked = new Set<string>();
  /** How many calls run that may bring such users, or look at them. */
  #running = 0;
  /** Resolves when the mark is stored; undefined while there is none. */
  #marked: Promise<void> | undefined;
  /** Resolves when the last removal of the mark has ended. */
  #unmarked = Promise.resolve();

  constructor(context: Pick<Context, 'clock' | 'logger'>, options: IdentityChangesOptions) {
    this.#context = context;
    this.#options = options;
    this.#reported = new ReportedIdentities(options.store, options.userId);
  }

  /** Call it before the client makes its first request for keys: the stored keys are those to compare with. */
  async start(): Promise<void> {
    const { crypto, userId, store, ended } = this.#options;
    await this.#reported.load();
    // A new device has no identity stored. The library would wait a second for the keys, which are requested later.
    if (!store.wasNew && !this.#reported.of(userId)) {
      const own = await userIdentity(this.#options.crypto, userId);
      if (own) await this.#reported.set(userId, { masterKey: own.masterKey, at: undefined });
    }
    crypto.on(CryptoEvent.UserTrustStatusChanged, (changed) => this.#look(changed));
    this.#watchChanges();
    ended.addEventListener('abort', () => this.#context.clock.clearTimeout(this.#timer), { once: true });
    // The last run may have ended before a report. The others are looked at in the background: they may be many.
    for (const changed of this.#reported.userIds) this.#look(changed);
    if (store.wasNew || !(await this.#reported.mayLackReports())) return;
    this.#marked ??= Promise.resolve();
    this.#running++;
    this.#lookAtTracked().catch(() => {}); // as in #look(); the mark stays, so the next start does it
  }

  /** The crypto library stores changes with the answer to a request for keys, and tells of them later. */
  #watchChanges(): void {
    const { crypto, run } = this.#options;
    const { olmMachine } = crypto;
    const receive = olmMachine.markRequestAsSent.bind(olmMachine);
    olmMachine.markRequestAsSent = async (id, type, answer) => {
      if (type !== KEYS_QUERY) return receive(id, type, answer);
      this.#running++;
      try {
        this.#marked ??= run('markRequestAsSent', async () => {
          await this.#unmarked;
          await this.#reported.setMayLackReports(true);
        });
        await this.#marked;
        return await receive(id, type, answer);
      } finally {
        for (const userId of usersWithKeys(answer)) this.#unlooked.add(userId);
        void this.#lookAtUnlooked();
      }
    };
  }

  /** Looks at users of whom an earlier run may have stored a first change, and ended before it could report it. */
  async #lookAtTracked(): Promise<void> {
    const ids = await this.#options.crypto.olmMachine.trackedUsers();
    for (const id of ids) {
      this.#unlooked.add(id.toString());
      id.free();
    }
    await this.#lookAtUnlooked();
  }

  /** Ends a call that {@link #running} counts. Then removes the mark, unless a look failed or the client has ended. Never rejects. */
  async #lookAtUnlooked(): Promise<void> {
    const failed: string[] = [];
    for (const userId of this.#unlooked) {
      if (this.#options.ended.aborted) return;
      this.#unlooked.delete(userId);
      if (this.#isReported(userId)) continue;
      await this.#lookAtUntold(userId).catch(() => failed.push(userId)); // it is looked at again after the next answer
    }
    for (const userId of failed) this.#unlooked.add(userId);
    this.#running--;
    if (this.#options.ended.aborted || this.#running > 0 || this.#unlooked.size > 0) return;
    this.#marked = undefined;
    this.#unmarked = this.#reported.setMayLackReports(false);
  }

  /** Whether each start looks at the user anyway, or may have looked at and forgotten them. */
  #isReported(userId: string): boolean {
    return userId === this.#options.userId || this.#reported.of(userId) !== undefined || this.#reported.isFull;
  }

  /** Takes note of a master key that this device is about to publish. The homeserver may refuse it. Never rejects. */
  noteCreated(masterKey: string): Promise<void> {
    return this.#reported.addCreated(masterKey);
  }

  #look(changed: string): void {
    const look = changed === this.#options.userId ? this.#lookAtOwn() : this.#lookAt(changed);
    look.catch(() => {}); // the library cannot read the identity; it is looked at again at its next change
  }

  async #lookAtOwn(): Promise<void> {
    const { identity, userId } = this.#options;
    await identity.idle();
    const own = await userIdentity(this.#options.crypto, userId);
    if (!own) return;
    const { masterKey } = own;
    const known = this.#reported.of(userId);
    const isOwnWork = this.#reported.hasCreated(masterKey);
    if (known && !isOwnWork) return this.#report(userId, own);
    // Keys that were not published are dropped again, and then the known ones come back.
    const isPublished = !isOwnWork || masterKey === identity.publishedMasterKey;
    if (isPublished && known?.masterKey !== masterKey) await this.#reported.set(userId, { masterKey, at: known?.at });
  }

  async #lookAt(userId: string): Promise<void> {
    const identity = await userIdentity(this.#options.crypto, userId);
    if (identity?.hasChanged) await this.#report(userId, identity);
  }

  /** Looks at a user of whom the crypto library may have told nothing, because nothing has changed. */
  async #lookAtUntold(userId: string): Promise<void> {
    const identity = await userIdentity(this.#options.crypto, userId);
    if (identity?.differsFromFirst) await this.#report(userId, identity);
  }

  async #report(changed: string, { masterKey, wasVerified }: { masterKey: string; wasVerified: boolean }) {
    const { userId, ended, onChanged } = this.#options;
    const { clock, logger } = this.#context;
    const last = this.#reported.of(changed);
    if (ended.aborted || last?.masterKey === masterKey) return;
    const now = clock.now();
    const sinceLastMs = now - (last?.at ?? -Infinity);
    // The clock may have been set back since the last run.
    if (sinceLastMs >= 0 && sinceLastMs < REPORT_INTERVAL_MS) {
      this.#postponed.set(changed, now - sinceLastMs + REPORT_INTERVAL_MS);
      return this.#setTimer();
    }
    logger.warn({ userId, changedUserId: changed, wasVerified }, 'the cross-signing keys of a user were replaced');
    const isStored = this.#reported.set(changed, { masterKey, at: now });
    onChanged({ userId, changedUserId: changed, wasVerified });
    await isStored;
  }

  #setTimer(): void {
    const { clock } = this.#context;
    clock.clearTimeout(this.#timer);
    if (this.#postponed.size === 0) return;
    const next = Math.min(...this.#postponed.values());
    this.#timer = clock.setTimeout(() => this.#lookAtPostponed(), Math.max(0, next - clock.now()));
  }

  #lookAtPostponed(): void {
    const now = this.#context.clock.now();
    for (const [changed, at] of this.#postponed) {
      if (at > now) continue;
      this.#postponed.delete(changed);
      this.#look(changed);
    }
    this.#setTimer();
  }
}

/** The users whose cross-signing keys are in the answer to a request for keys. */
function usersWithKeys(answer: string): readonly string[] {
  try {
    const keys = ownProperty(JSON.parse(answer), 'master_keys');
    return isObject(keys) ? Object.keys(keys) : [];
  } catch {
    return []; // the crypto library rejects it
  }
}
