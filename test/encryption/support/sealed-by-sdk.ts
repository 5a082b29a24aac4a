import type { OlmMachine } from '@matrix-org/matrix-sdk-crypto-wasm';
import { hkdfSync } from 'node:crypto';
import type { DeviceId, KeyStore } from '../../../src/core/ports/key-store.js';
import { cryptoStoreOn } from './crypto-store.js';
import { silentMachineLogger } from './olm-machine.js';

/**
 * Creates the keys of a device as earlier releases did: the SDK gets a key and seals its records with it, and the store
 * seals them again. The way to that key stands here once more, because it must never change.
 */
export async function createSealedBySdk(
  keys: KeyStore,
  device: DeviceId,
  use: (machine: OlmMachine) => Promise<unknown> = async () => {},
): Promise<void> {
  let deviceKey = new Uint8Array();
  const noting: KeyStore = {
    devicesOf: (userId) => keys.devicesOf(userId),
    openDevice: async (options) => {
      const handle = await keys.openDevice(options);
      deviceKey = new Uint8Array(handle.key);
      return handle;
    },
    forgetDevice: (userId, deviceId) => keys.forgetDevice(userId, deviceId),
    rotateSecret: (secret) => keys.rotateSecret(secret),
    close: async () => {}, // the caller closes `keys`
    [Symbol.asyncDispose]: async () => {},
  };
  const store = await cryptoStoreOn(noting);
  const { cryptoDatabasePrefix } = await store.openUser(device);
  const storageKey = new Uint8Array(hkdfSync('sha256', deviceKey, '', 'matrix-sdk-crypto storage key', 32));
  const sdk = await import('@matrix-org/matrix-sdk-crypto-wasm');
  await sdk.initAsync();
  const handle = await sdk.StoreHandle.openWithKey(cryptoDatabasePrefix, storageKey, silentMachineLogger);
  const machine = await sdk.OlmMachine.initFromStore(
    new sdk.UserId(device.userId),
    new sdk.DeviceId(device.deviceId),
    handle,
    silentMachineLogger,
  );
  handle.free();
  await use(machine);
  machine.close();
  await store.close();
}
