import { RecentMap } from '../core/recent-map.js';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** No prediction is made from fewer days than this. */
const MIN_DAYS = 3;
/** An hour counts as usual if the user was active in it on at least this share of the days. */
const MIN_SHARE = 0.6;
/** After this many days all counts are halved, so that new habits replace old ones. */
const MAX_DAYS = 28;
const MAX_USERS = 20_000;

interface Habit {
  /** On how many days the user was active in each hour of the day (UTC). */
  readonly hours: Uint8Array;
  days: number;
  firstDay: number;
  lastHour: number;
}

/**
 * Learns at which hours of the day users are active. Takes about 100 bytes per user; beyond `MAX_USERS` the least
 * recently active user is deleted.
 */
export class ActivityHistory {
  readonly #users = new RecentMap<Habit>(MAX_USERS);

  /** Records that the user is active. Cheap: only the first call per user and hour counts. */
  note(userId: string, now: number): void {
    const hour = Math.floor(now / HOUR_MS);
    const known = this.#users.get(userId);
    if (known?.lastHour === hour) return;
    const day = Math.floor(hour / 24);
    const habit = known ?? { hours: new Uint8Array(24), days: 0, firstDay: day, lastHour: -1 };
    this.#users.set(userId, habit); // set again, so that the map stays in the order of the last activity
    habit.lastHour = hour;
    const index = hour % 24;
    habit.hours[index] = Math.min(255, (habit.hours[index] ?? 0) + 1);
    if (day - habit.firstDay >= MAX_DAYS) {
      for (let h = 0; h < 24; h++) habit.hours[h] = (habit.hours[h] ?? 0) >> 1;
      habit.firstDay = day - (MAX_DAYS >> 1) + 1;
    }
    habit.days = day - habit.firstDay + 1;
  }

  /** The start of the next usual hour within 24 hours, in milliseconds since the Unix epoch; undefined if none. */
  likelyReturnAt(userId: string, now: number): number | undefined {
    const habit = this.#users.get(userId);
    if (!habit || habit.days < MIN_DAYS) return undefined;
    const thisHour = Math.floor(now / HOUR_MS);
    for (let hour = thisHour + 1; hour * HOUR_MS <= now + DAY_MS; hour++) {
      const share = (habit.hours[hour % 24] ?? 0) / habit.days;
      if (share >= MIN_SHARE) return hour * HOUR_MS;
    }
    return undefined;
  }

  forget(userId: string): void {
    this.#users.delete(userId);
  }
}
