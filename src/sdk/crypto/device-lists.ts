import type { Clock } from '../../core/clock.js';

/** A fetch of device lists that has not ended. */
export interface DeviceListUpdate {
  /** Milliseconds since the Unix epoch. */
  readonly startedAt: number;
  /** Never rejects: lists that could not be fetched are fetched after a later sync. */
  readonly ended: Promise<void>;
}

/** How current the client's lists of users' devices and of their signatures are. */
export class DeviceLists {
  readonly #clock: Clock;
  #update: DeviceListUpdate | undefined;
  #version = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The running fetch of all lists that were reported as changed so far, or undefined when they are up to date. */
  get update(): DeviceListUpdate | undefined {
    return this.#update;
  }

  /** Differs after a list or a user's keys have changed. */
  get version(): number {
    return this.#version;
  }

  /** @param fetching - fetches all lists that were reported as changed so far */
  updateBy(fetching: Promise<unknown>): void {
    const end = (): void => {
      if (this.#update === update) this.#update = undefined;
    };
    const update = { startedAt: this.#clock.now(), ended: fetching.then(end, end) };
    this.#update = update;
  }

  noteChange(): void {
    this.#version++;
  }
}
