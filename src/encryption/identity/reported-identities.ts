import { isObject } from '../../core/raw-event.js';
import { RecentMap } from '../../core/recent-map.js';
import type { DeviceStore } from '../store/device-store.js';
import { JsonRecords } from '../store/json-records.js';

/** What the application knows of a user's identity. */
export interface ReportedIdentity {
  readonly masterKey: string;
  /** When a change to it was reported, in milliseconds since 1970; undefined if it is no change. */
  readonly at: number | undefined;
}

/** Users that are remembered. */
const MOST_USERS = 1_000;
/** A homeserver that refuses the first keys makes each attempt of the set-up create others. */
const MOST_CREATED_KEYS = 100;
const RECORD = JSON.stringify(['identities']);
const UNREPORTED = JSON.stringify(['identities', 'unreported']);

/**
 * The master keys that one device has reported as changed, its user's own one, and those that it has created itself. They
 * are kept in a record beside the keys. A record that is damaged counts as missing.
 */
export class ReportedIdentities {
  readonly #records: JsonRecords;
  readonly #ownUserId: string;
  /** Apart from the others, so that their number never displaces it. */
  #own: ReportedIdentity | undefined;
  readonly #others = new RecentMap<ReportedIdentity>(MOST_USERS);
  readonly #created = new RecentMap<true>(MOST_CREATED_KEYS);

  constructor(store: Pick<DeviceStore, 'readSideRecord' | 'writeSideRecord'>, ownUserId: string) {
    this.#records = new JsonRecords(store);
    this.#ownUserId = ownUserId;
  }

  /** Reads what an earlier run has stored. Call it once, before anything else. Never rejects. */
  async load(): Promise<void> {
    const record = await this.#records.read(RECORD);
    if (!isObject(record)) return;
    for (const entry of arrayOr(record['users'])) {
      const [userId, masterKey, at] = arrayOr(entry);
      if (typeof userId !== 'string' || typeof masterKey !== 'string') continue;
      this.#remember(userId, { masterKey, at: typeof at === 'number' ? at : undefined });
    }
    for (const key of arrayOr(record['created'])) if (typeof key === 'string') this.#created.set(key, true);
  }

  get userIds(): readonly string[] {
    return [...(this.#own ? [this.#ownUserId] : []), ...this.#others.keys()];
  }

  /** Whether reports may have been forgotten, so that a user without one may have been reported. */
  get isFull(): boolean {
    return this.#others.size >= MOST_USERS;
  }

  of(userId: string): ReportedIdentity | undefined {
    return userId === this.#ownUserId ? this.#own : this.#others.get(userId);
  }

  /** Never rejects. */
  async set(userId: string, reported: ReportedIdentity): Promise<void> {
    this.#remember(userId, reported);
    await this.#write();
  }

  hasCreated(masterKey: string): boolean {
    return this.#created.has(masterKey);
  }

  /** Never rejects. */
  async addCreated(masterKey: string): Promise<void> {
    this.#created.set(masterKey, true);
    await this.#write();
  }

  /**
   * Whether changes of others may be stored in the crypto library, and not reported yet: also if nothing says so, as after
   * an update from a release that kept no such record. Never rejects.
   */
  async mayLackReports(): Promise<boolean> {
    return (await this.#records.read(UNREPORTED)) !== false;
  }

  /** Never rejects. */
  async setMayLackReports(mayLack: boolean): Promise<void> {
    await this.#records.write(UNREPORTED, mayLack);
  }

  #remember(userId: string, reported: ReportedIdentity): void {
    if (userId === this.#ownUserId) this.#own = reported;
    else this.#others.set(userId, reported);
  }

  async #write(): Promise<void> {
    const users = this.userIds.map((userId) => [userId, this.of(userId)?.masterKey, this.of(userId)?.at]);
    await this.#records.write(RECORD, { users, created: [...this.#created.keys()] });
  }
}

function arrayOr(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? (value as readonly unknown[]) : [];
}
