import { MatrixClientManagerError } from '../../core/errors.js';
import type { Claim } from '../../core/ports/claim.js';
import type { DeviceHandle, KeyChange } from '../../core/ports/key-store.js';
import { DeviceCommits } from './device-commits.js';

export interface HeldDeviceOptions extends Omit<DeviceHandle, 'commit' | 'release' | 'writeSideRecord'> {
  readonly claim: Claim | undefined;
  /**
   * Stores the changes in one transaction. Called for one commit at a time. Throws inside the transaction what
   * `assertHeld` throws: the claim may be lost while the commit waits.
   */
  readonly write: (changes: readonly KeyChange[], assertHeld: () => void) => Promise<number>;
  /** Like `write`, for one side record. */
  readonly writeSideRecord: (name: string, record: Uint8Array, assertHeld: () => void) => Promise<void>;
  /** Called once, when nothing of the device runs any more. */
  readonly onReleased: () => void;
}

/** The handle of a device for the key stores: the order of its commits, and its release. */
export function heldDevice(options: HeldDeviceOptions): DeviceHandle {
  const { claim, write, setRestorePending, readSideRecord, writeSideRecord, onReleased, ...device } = options;
  const { userId } = device;
  const assertClaimed = (): void => claim?.assertHeld();
  const commits = new DeviceCommits(async (changes) => {
    assertClaimed();
    return write(changes, assertClaimed);
  });
  const otherWrites = new Set<Promise<void>>();
  let released: Promise<void> | undefined;
  const assertHeld = (): void => {
    if (released) throw new MatrixClientManagerError('ABORTED', `the keys of ${userId} were released`, { userId });
  };
  const writeBesides = (begin: () => Promise<void>): Promise<void> => {
    assertHeld();
    assertClaimed();
    const running = begin().finally(() => otherWrites.delete(running));
    otherWrites.add(running);
    return running;
  };
  const release = async (): Promise<void> => {
    await Promise.allSettled([commits.idle(), ...otherWrites]);
    onReleased();
  };
  return {
    ...device,
    commit: async (changes) => {
      assertHeld();
      return commits.commit(changes);
    },
    setRestorePending: async (pending) => writeBesides(() => setRestorePending(pending)),
    readSideRecord: async (name) => {
      assertHeld();
      return readSideRecord(name);
    },
    writeSideRecord: async (name, record) => writeBesides(() => writeSideRecord(name, record, assertClaimed)),
    release: () => (released ??= release()),
  };
}
