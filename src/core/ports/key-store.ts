import type { Claim } from './claim.js';

/** A user's device, whose keys are stored together. */
export interface DeviceId {
  readonly userId: string;
  readonly deviceId: string;
}

/** The schema of one of the crypto library's databases, sufficient to create it again. */
export interface DatabaseSchema {
  readonly version: number;
  readonly stores: readonly {
    readonly name: string;
    readonly keyPath: string | string[] | null;
    readonly indexes: readonly {
      readonly name: string;
      readonly keyPath: string | string[];
      readonly multiEntry: boolean;
      readonly unique: boolean;
    }[];
  }[];
}

export interface RecordChange {
  readonly store: string;
  readonly key: string;
  /** The record's present value, which can be cloned; absent if the record was deleted. Must not be modified. */
  readonly present?: { readonly value: unknown };
}

/** A change of one database. With a `schema`, `records` is the whole content of the database. */
export interface DatabaseChange {
  readonly schema?: DatabaseSchema;
  readonly records: readonly RecordChange[];
}

/** A change of the database with that name. */
export type KeyChange = readonly [databaseName: string, change: DatabaseChange];

/** A database as of its last commit. */
export interface StoredDatabase {
  readonly name: string;
  readonly schema: DatabaseSchema;
  /** Records by object store. */
  readonly records: ReadonlyMap<string, readonly { readonly key: string; readonly value: unknown }[]>;
}

/**
 * How many side records a key store keeps of each device. Older ones are deleted. A side record is stored beside the keys
 * of a device, and contains no key: most tell which messages of a session were received, others which devices get no keys
 * or which identities were reported.
 */
export const SIDE_RECORDS_KEPT = 10_000;

export interface OpenDeviceOptions extends DeviceId {
  /** The claim of the session that opens the device. @default none: the device belongs to this process */
  readonly claim?: Claim;
}

/**
 * The keys of one device, held until `release()`. A handle with a claim stores nothing after the claim is lost: from then
 * on its calls reject with `OWNED_ELSEWHERE`. A store that several processes use checks the epoch in its transactions,
 * because the claim may not know yet that it is lost.
 */
export interface DeviceHandle extends DeviceId {
  /** 32 random bytes that belong to the device for ever, as secret as its keys. */
  readonly key: Uint8Array;
  /** Number of commits before the device was opened. 0 if the device has no keys yet. */
  readonly commits: number;
  /** Whether a restore from the key backup was started before, and has not ended. False for a new device. */
  readonly restorePending: boolean;
  /** The content of the device's databases when it was opened. */
  readonly databases: readonly StoredDatabase[];
  /**
   * Stores the changes in one transaction, and resolves to the device's number of commits when they are durable. Commits
   * take effect in the order of the calls. Those that wait for another commit may be stored together. After a failed
   * commit the store may have any part of the waiting ones, so every later commit rejects with the same error.
   */
  commit(changes: readonly KeyChange[]): Promise<number>;
  /** Stores whether a restore from the key backup is running. Rejects with `STORAGE` if that cannot be stored. */
  setRestorePending(pending: boolean): Promise<void>;
  /** The side record with this name, or undefined. Rejects with `ENCRYPTION_STORE_DAMAGED` if it was altered. */
  readSideRecord(name: string): Promise<Uint8Array | undefined>;
  /**
   * Replaces the side record with this name. Resolves when a killed process cannot lose it any more; a
   * power cut may lose the last ones. It is no commit, and changes no key. Keeps at least the `SIDE_RECORDS_KEPT`
   * records of the device that were written last.
   */
  writeSideRecord(name: string, record: Uint8Array): Promise<void>;
  /** Waits for running commits, then lets others open the device. Every later call of another method rejects. Idempotent. */
  release(): Promise<void>;
}

/**
 * Stores the encryption keys of devices. The records of new devices are not encrypted, nor are the keys and names of
 * records: the store encrypts what it writes. A device that used older keys again would break its encryption, so a store
 * reports lost and older keys, and lets one holder at a time change a device's keys. No call waits without a bound. The
 * contract suite in `matrix-client-manager/testing` checks implementations.
 */
export interface KeyStore extends AsyncDisposable {
  /** Ids of the user's devices that the store has keys of, oldest first. */
  devicesOf(userId: string): Promise<string[]>;
  /**
   * Loads the keys of a user's device, or creates its entry. Rejects with `ENCRYPTION_STORE_IN_USE` while a device of the
   * user is held, unless the claim of the holder is lost; `ENCRYPTION_STORE_ROLLED_BACK` if the keys are lost or older
   * than before, `ENCRYPTION_STORE_DAMAGED` if they cannot be read.
   */
  openDevice(options: OpenDeviceOptions): Promise<DeviceHandle>;
  /**
   * Deletes the keys of a device that is not held. Its id cannot get new keys in this store: other devices do not trust
   * a device that changes its keys. Resolves to whether the store had keys of it.
   */
  forgetDevice(userId: string, deviceId: string): Promise<boolean>;
  /**
   * Encrypts all device keys with a new secret, completely or not at all. Held devices stay usable. After that the store
   * opens only with the new secret. Rejects with `INVALID_OPTIONS` for an invalid secret.
   */
  rotateSecret(secret: string | Uint8Array): Promise<void>;
  /** Waits for running commits and releases all devices. Every later call of another method rejects. Idempotent. */
  close(): Promise<void>;
}
