import type { OlmMachine } from '@matrix-org/matrix-sdk-crypto-wasm';
import type { DeviceStore } from '../../../src/encryption/store/device-store.js';

export const silentMachineLogger = { trace() {}, debug() {}, info() {}, warn() {}, error() {} };

/** The SDK's machine on a device's keys, opened as `initRustCrypto()` opens it. */
export async function olmMachineOn(store: DeviceStore, deviceId = store.deviceId): Promise<OlmMachine> {
  const sdk = await import('@matrix-org/matrix-sdk-crypto-wasm');
  await sdk.initAsync();
  const { cryptoDatabasePrefix: prefix, storageKey } = store;
  const handle = await (storageKey
    ? sdk.StoreHandle.openWithKey(prefix, storageKey, silentMachineLogger)
    : sdk.StoreHandle.open(prefix, undefined, silentMachineLogger));
  try {
    const userId = new sdk.UserId(store.userId);
    return await sdk.OlmMachine.initFromStore(userId, new sdk.DeviceId(deviceId), handle, silentMachineLogger);
  } finally {
    handle.free();
  }
}

/** The keys that a device which is used nowhere uploads: the body of its first `/keys/upload`. */
export async function keysOfNewDevice({ userId, deviceId }: Pick<DeviceStore, 'userId' | 'deviceId'>): Promise<string> {
  const sdk = await import('@matrix-org/matrix-sdk-crypto-wasm');
  await sdk.initAsync();
  const machine = await sdk.OlmMachine.initialize(new sdk.UserId(userId), new sdk.DeviceId(deviceId));
  const requests = await machine.outgoingRequests();
  const upload = requests.find(({ type }) => type === sdk.RequestType.KeysUpload) as { readonly body: string };
  machine.close();
  return upload.body;
}

/** A call that panics: the session has expired, which the SDK never lets happen. */
export async function panic(machine: OlmMachine): Promise<unknown> {
  const { EncryptionSettings, RoomId } = await import('@matrix-org/matrix-sdk-crypto-wasm');
  const settings = new EncryptionSettings();
  settings.rotationPeriodMessages = 1n;
  const roomId = () => new RoomId('!r:x');
  await machine.shareRoomKey(roomId(), [], settings);
  await machine.encryptRoomEvent(roomId(), 'm.room.message', '{}');
  return machine.encryptRoomEvent(roomId(), 'm.room.message', '{}');
}
