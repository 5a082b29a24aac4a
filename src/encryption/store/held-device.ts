import { MatrixClientManagerError } from '../../core/errors.js';
import type { Claim } from '../../core/ports/claim.js';
import type { DeviceHandle, KeyChange, StoredDatabase } from '../../core/ports/key-store.js';
import { DeviceCommits } from './device-commits.js';

export interface HeldDeviceOptions extends Omit<DeviceHandle, 'commit' | 'release'> {
  readonly claim: Claim | undefined;
  /** Stores the changes in one transaction. Called for one commit at a time. */
  readonly write: (changes: readonly KeyChange[]) => Promise<number>;
  /** Called once, when nothing of the device runs any more. */
  readonly onReleased: () => void;
}

/** The handle of a device for the key stores of this folder: the order of its commits, and its release. */
export class HeldDevice implements DeviceHandle {
  readonly userId: string;
  readonly deviceId: string;
  readonly key: Uint8Array;
  readonly commits: number;
  readonly restorePending: boolean;
  readonly databases: readonly StoredDatabase[];
  readonly #options: HeldDeviceOptions;
  readonly #commits: DeviceCommits;
  readonly #notes = new Set<Promise<void>>();
  #released: Promise<void> | undefined;

  constructor(options: HeldDeviceOptions) {
    this.#options = options;
    this.userId = options.userId;
    this.deviceId = options.deviceId;
    this.key = options.key;
    this.commits = options.commits;
    this.restorePending = options.restorePending;
    this.databases = options.databases;
    this.#commits = new DeviceCommits(async (changes) => {
      options.claim?.assertHeld();
      return options.write(changes);
    });
  }

  async commit(changes: readonly KeyChange[]): Promise<number> {
    this.#assertHeld();
    return this.#commits.commit(changes);
  }

  async setRestorePending(pending: boolean): Promise<void> {
    this.#assertHeld();
    this.#options.claim?.assertHeld();
    const note = this.#options.setRestorePending(pending).finally(() => this.#notes.delete(note));
    this.#notes.add(note);
    return note;
  }

  release(): Promise<void> {
    this.#released ??= this.#release();
    return this.#released;
  }

  async #release(): Promise<void> {
    await Promise.allSettled([this.#commits.idle(), ...this.#notes]);
    this.#options.onReleased();
  }

  #assertHeld(): void {
    if (!this.#released) return;
    const { userId } = this;
    throw new MatrixClientManagerError('ABORTED', `the keys of ${userId} were released`, { userId });
  }
}
