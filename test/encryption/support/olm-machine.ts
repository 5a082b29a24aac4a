import type { OlmMachine } from '@matrix-org/matrix-sdk-crypto-wasm';
import type { DeviceStore } from '../../../src/encryption/device-store.js';

const silent = { trace() {}, debug() {}, info() {}, warn() {}, error() {} };

/** The SDK's machine on a device's keys, opened as `initRustCrypto()` opens it. */
export async function olmMachineOn(store: DeviceStore, deviceId = store.deviceId): Promise<OlmMachine> {
  const sdk = await import('@matrix-org/matrix-sdk-crypto-wasm');
  await sdk.initAsync();
  const handle = await sdk.StoreHandle.openWithKey(store.cryptoDatabasePrefix, store.storageKey, silent);
  try {
    const userId = new sdk.UserId(store.userId);
    return await sdk.OlmMachine.initFromStore(userId, new sdk.DeviceId(deviceId), handle, silent);
  } finally {
    handle.free();
  }
}
