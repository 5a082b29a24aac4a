import { MatrixClientManagerError } from '../../core/errors.js';
import type { Claim } from '../../core/ports/claim.js';
import type { DeviceHandle, KeyChange } from '../../core/ports/key-store.js';
import { DeviceCommits } from './device-commits.js';

export interface HeldDeviceOptions extends Omit<DeviceHandle, 'commit' | 'release'> {
  readonly claim: Claim | undefined;
  /** Stores the changes in one transaction. Called for one commit at a time. */
  readonly write: (changes: readonly KeyChange[]) => Promise<number>;
  /** Called once, when nothing of the device runs any more. */
  readonly onReleased: () => void;
}

/** The handle of a device for the key stores: the order of its commits, and its release. */
export function heldDevice(options: HeldDeviceOptions): DeviceHandle {
  const { claim, write, setRestorePending, readReceived, writeReceived, onReleased, ...device } = options;
  const { userId } = device;
  const commits = new DeviceCommits(async (changes) => {
    claim?.assertHeld();
    return write(changes);
  });
  const otherWrites = new Set<Promise<void>>();
  let released: Promise<void> | undefined;
  const assertHeld = (): void => {
    if (released) throw new MatrixClientManagerError('ABORTED', `the keys of ${userId} were released`, { userId });
  };
  const writeBesides = (begin: () => Promise<void>): Promise<void> => {
    assertHeld();
    claim?.assertHeld();
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
    readReceived: async (name) => {
      assertHeld();
      return readReceived(name);
    },
    writeReceived: async (name, record) => writeBesides(() => writeReceived(name, record)),
    release: () => (released ??= release()),
  };
}
