import { RecentMap } from '../../core/recent-map.js';

/** Requests of one user, and of all users, that are answered in one period. */
const MAX_PER_USER = 10;
const MAX_IN_ALL = 100;
/** Users whose requests are counted at a time. More cannot be answered anyway. */
const MOST_USERS = 1_000;

interface Count {
  count: number;
  /** When the count began, in milliseconds since the Unix epoch. */
  readonly since: number;
}

/** Bounds the answers to requests: another user can make as many requests as they like. */
export class VerificationLimits {
  readonly #ofUsers = new RecentMap<Count>(MOST_USERS);
  #ofAll: Count = { count: 0, since: -Infinity };
  readonly #periodMs: number;

  /** @param periodMs - after this time the count begins anew, in milliseconds */
  constructor(periodMs: number) {
    this.#periodMs = periodMs;
  }

  /** Counts a request. @returns whether it may be answered */
  allow(userId: string, now: number): boolean {
    const isOver = ({ since }: Count): boolean => now - since >= this.#periodMs;
    const known = this.#ofUsers.get(userId);
    const ofUser = !known || isOver(known) ? { count: 0, since: now } : known;
    if (isOver(this.#ofAll)) this.#ofAll = { count: 0, since: now };
    if (ofUser.count >= MAX_PER_USER || this.#ofAll.count >= MAX_IN_ALL) return false;
    ofUser.count++;
    this.#ofAll.count++;
    this.#ofUsers.set(userId, ofUser);
    return true;
  }
}
