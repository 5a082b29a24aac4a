import { hkdfSync } from 'node:crypto';
import type { StoredDatabase } from '../../core/ports/key-store.js';

/** The SDK creates this database if it gets a `storageKey`. It contains the key that seals the device's other records. */
const SDK_KEY_DATABASE = 'matrix-sdk-crypto-meta';

/**
 * Whether the SDK has sealed the records of a device itself, as it did for devices of earlier releases. Such a device
 * needs its `storageKey`, and no other device may get one: the SDK would find no account, and create a second one.
 */
export function isSealedBySdk(databases: readonly StoredDatabase[]): boolean {
  return databases.some(({ name }) => name === SDK_KEY_DATABASE);
}

/** The `storageKey` for `initRustCrypto()`. @param key - the key of the device's handle */
export function sdkStorageKey(key: Uint8Array): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', key, '', 'matrix-sdk-crypto storage key', 32));
}
