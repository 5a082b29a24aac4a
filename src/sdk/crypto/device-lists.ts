import type { Clock } from '../../core/clock.js';
import { RecentIds } from '../../core/recent-ids.js';

/** Fetches of device lists that have not ended. */
export interface DeviceListUpdate {
  /** When the last of them began, in milliseconds since the Unix epoch. */
  readonly startedAt: number;
  /** Resolves when all have ended. Never rejects: lists that could not be fetched are fetched after a later sync. */
  readonly ended: Promise<unknown>;
}

interface Fetch extends DeviceListUpdate {
  readonly users: ReadonlySet<string> | 'all';
}

/** How many users are remembered whose lists have not changed yet. */
const MOST_UNCHANGED = 1_000;

/** How current the client's lists of users' devices and of their signatures are. */
export class DeviceLists {
  readonly #clock: Clock;
  /** In the order in which they began. */
  readonly #fetches = new Set<Fetch>();
  /** Users whose lists are to be fetched, until they have changed. A fetch that fails is repeated with the next one. */
  readonly #unchanged = new RecentIds(MOST_UNCHANGED);
  #version = 0;
  #fetched = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Differs after a list or a user's keys have changed. */
  get version(): number {
    return this.#version;
  }

  /** How many fetches have ended. */
  get fetched(): number {
    return this.#fetched;
  }

  /** The running fetches of this user's list, or of any list; undefined when it is up to date. */
  updateOf(userId?: string): DeviceListUpdate | undefined {
    const fetches = [...this.#fetches].filter(
      ({ users }) => userId === undefined || users === 'all' || users.has(userId),
    );
    const last = fetches.at(-1);
    return last && { startedAt: last.startedAt, ended: Promise.all(fetches.map(({ ended }) => ended)) };
  }

  /** @param fetching - fetches the lists of `users` */
  updateBy(fetching: Promise<unknown>, users: readonly string[] | 'all'): void {
    const end = (): void => {
      this.#fetches.delete(fetch);
      this.#fetched++;
    };
    const fetch = {
      startedAt: this.#clock.now(),
      ended: fetching.then(end, end),
      users: users === 'all' ? users : new Set([...this.#unchanged, ...users]),
    };
    this.#fetches.add(fetch);
    if (users !== 'all') for (const userId of users) this.#unchanged.add(userId);
  }

  /** @param users - whose lists or keys have changed */
  noteChange(users: readonly string[]): void {
    this.#version++;
    for (const userId of users) this.#unchanged.delete(userId);
  }
}
