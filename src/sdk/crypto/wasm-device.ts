import type { CryptoBackend, WasmDevice, WasmDeviceId } from './crypto-backend.js';
import { wasmUserId } from './wasm-user-id.js';

/**
 * Calls `use` with a device, or with undefined if the crypto library does not know it. Frees it afterwards: otherwise it
 * keeps the client in memory.
 */
export async function withDevice<T>(
  { olmMachine }: Pick<CryptoBackend, 'olmMachine'>,
  { userId, deviceId }: { readonly userId: string; readonly deviceId: string },
  use: (device: WasmDevice | undefined) => T | Promise<T>,
): Promise<T> {
  const DeviceId = olmMachine.deviceId.constructor as new (id: string) => WasmDeviceId;
  const user = wasmUserId({ olmMachine }, userId);
  const id = new DeviceId(deviceId);
  let device: WasmDevice | undefined;
  try {
    device = user && (await olmMachine.getDevice(user, id));
    return await use(device);
  } finally {
    for (const object of [device, id, user]) object?.free();
  }
}
