import type { CryptoBackend, WasmDevice } from './crypto-backend.js';
import { deviceIdClass } from './wasm-classes.js';
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
  const user = wasmUserId({ olmMachine }, userId);
  const id = new (deviceIdClass(olmMachine))(deviceId);
  let device: WasmDevice | undefined;
  try {
    device = user && (await olmMachine.getDevice(user, id));
    return await use(device);
  } finally {
    for (const object of [device, id, user]) object?.free();
  }
}
