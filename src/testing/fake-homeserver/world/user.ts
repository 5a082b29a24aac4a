import { AccountData } from './account-data.js';

export interface Device {
  readonly deviceId: string;
  displayName: string | null;
  lastSeenAt: number | null;
}

export type Membership = 'join' | 'invite' | 'leave' | 'ban' | 'knock';

/** An account and its data. */
export class User {
  displayName: string | undefined;
  avatarUrl: string | undefined;
  password: string | undefined;
  admin = false;
  deactivated = false;
  locked = false;
  suspended = false;
  erased = false;
  presence:
    | {
        readonly presence: string;
        readonly statusMessage: string | undefined;
        readonly setAt: number;
        /** The position of the change. */
        readonly stream: number;
      }
    | undefined;
  readonly devices = new Map<string, Device>();
  readonly accountData = new AccountData();
  /** Stored filters. The index is the filter's id. */
  readonly filters: string[] = [];
  /** The user's membership in all rooms they were ever part of, with the position of its last change. */
  readonly rooms = new Map<string, { membership: Membership; stream: number; forgotten: boolean }>();
  readonly #roomAccountData = new Map<string, AccountData>();

  constructor(
    readonly userId: string,
    readonly createdAt: number,
  ) {
    this.displayName = this.localpart;
  }

  get localpart(): string {
    return this.userId.slice(1, this.userId.indexOf(':'));
  }

  /** Whether the user has put the other one on the list of ignored users. */
  ignores(otherUserId: string): boolean {
    const users = this.accountData.get('m.ignored_user_list')?.['ignored_users'];
    return typeof users === 'object' && users !== null && Object.hasOwn(users, otherUserId);
  }

  roomAccountData(roomId: string): AccountData {
    let data = this.#roomAccountData.get(roomId);
    if (!data) this.#roomAccountData.set(roomId, (data = new AccountData()));
    return data;
  }
}
